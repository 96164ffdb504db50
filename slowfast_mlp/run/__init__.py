"""The story of a run. The only room that sees the whole Config."""
