"""Checkpoints: saving, verifying, resuming."""
