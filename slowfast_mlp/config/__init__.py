"""What may be set, and how files and overrides become one frozen configuration."""
