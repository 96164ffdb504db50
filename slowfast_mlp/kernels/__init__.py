"""Faster forms of what layers compute, with the same results: nothing here has weights of its own."""
