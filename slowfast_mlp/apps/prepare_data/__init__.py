"""A data set's files on disk: checked, re-encoded, and listed from the official annotations."""
