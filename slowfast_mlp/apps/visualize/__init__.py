"""Analysis: what a model looks at and mixes, what it gets wrong, and the pictures that show it."""
