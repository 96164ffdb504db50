"""What tools/benchmark.py measures: a file for each section, and how measuring is done."""
