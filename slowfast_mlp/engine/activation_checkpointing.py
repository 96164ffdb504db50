"""Activation checkpointing: a block's activations are computed again for its gradient, not kept."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from slowfast_mlp.engine.batch_norm import batch_norms, frozen_statistics


class Recomputed:
    """The forward pass of a block that keeps its inputs alone, and repeats itself for the gradient.

    It draws the same random numbers again, and running statistics follow the first pass only.
    """

    def forward(self, *inputs: Any) -> Any:
        """As the block's own."""
        if not (self.training and torch.is_grad_enabled()):
            return super().forward(*inputs)
        norms = batch_norms(self)
        if not norms:
            return checkpoint(super().forward, *inputs, use_reentrant=False)

        def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
            return nullcontext(), frozen_statistics(norms)

        return checkpoint(super().forward, *inputs, use_reentrant=False, context_fn=contexts)


def recompute_blocks(blocks: Iterable[nn.Module]) -> None:
    """Makes every block, in place, one that is Recomputed; names in the state stay."""
    for block in blocks:
        block.__class__ = _recomputed(type(block))


@cache
def _recomputed(kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"Recomputed{kind.__name__}", (Recomputed, kind), {"__doc__": kind.__doc__})
