"""Published figures tested again: a table of rows in, one report out (tools/reproduce.py)."""
