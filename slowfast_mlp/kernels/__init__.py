"""Forms of the layers that a machine likes better than a reader: the same numbers, with less to move."""
