"""Validates settings, lists and files before training."""
