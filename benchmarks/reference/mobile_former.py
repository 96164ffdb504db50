"""Mobile-Former with its dynamic ReLU as the authors write it: what the tests and tools/benchmark.py measure
the model against. Nothing else uses it.

Axes: B batch, T time, C channels, H W space, M tokens, D their width.
"""

import copy

import torch
from torch import Tensor, nn

from slowfast_mlp.layers.token_bridge import DynamicReLU


def build(model: nn.Module) -> nn.Module:
    """The plain form of a MobileFormer, with copies of its weights, on its device and in its mode."""
    plain = copy.deepcopy(model)
    for parent in list(plain.modules()):
        for name, child in parent.named_children():
            if isinstance(child, DynamicReLU):
                setattr(parent, name, PlainDynamicReLU(child.hyper).train(child.training))
    return plain


class PlainDynamicReLU(nn.Module):
    """max(a1·x, a2·x), both products made."""

    def __init__(self, hyper: nn.Module):
        super().__init__()
        self.hyper = hyper

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """[B·T, C, H, W], [B, M, D] -> [B·T, C, H, W]."""
        slopes = 2 * self.hyper(tokens[:, 0])  # B 2C
        first, second = slopes.reshape(tokens.shape[0], 1, -1, 1, 1).chunk(2, dim=2)  # B 1 C 1 1 each
        clips = x.unflatten(0, (tokens.shape[0], -1))  # B T C H W
        return torch.max(first * clips, (second - 1) * clips).flatten(0, 1)
