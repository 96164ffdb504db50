"""Counting a model's cost."""

import pytest
import torch
from torch import nn

from slowfast_mlp.engine.flops import count_flops, count_parameters


def test_a_linear_layer_counts_its_multiply_adds():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 4 * 4, 5))
    assert count_parameters(model) == 96 * 5 + 5
    model.train()
    assert count_flops(model, (3, 2, 4, 4)) == 96 * 5
    assert model.training


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        tokens = x.flatten(2) * self.scale
        return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)


def test_what_cannot_be_counted_is_an_error_and_not_zero():
    with pytest.raises(RuntimeError, match="cannot count aten::scaled_dot_product_attention"):
        count_flops(Attention(), (3, 2, 4, 4))
