"""Blocks that backbones share, and those for which a backbone's own file has no room."""
