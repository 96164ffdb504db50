"""The report of a run as one page: settings, curves, what the test got wrong, what the model looks at."""
