"""Prediction: the classes of videos, by the weights and settings that a checkpoint holds."""
