"""Transforms of frames and batches."""
