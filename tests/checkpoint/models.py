"""A model whose entries are easy to name."""

from torch import nn


def small_model(width=3):
    model = nn.Sequential()
    model.add_module("body", nn.Linear(2, width))
    model.add_module("head", nn.Linear(width, 2))
    return model
