"""Activation checkpointing: a block's activations are recomputed for its gradient instead of stored."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from slowfast_mlp.kernels import fused
from slowfast_mlp.layers.batch_norm import batch_norms, frozen_statistics


def run_block(block: nn.Module, *inputs: Any, recompute: bool) -> Any:
    """block(*inputs); with `recompute` a training step stores the inputs only.

    The second pass draws the same random numbers, and does not update running statistics.
    """
    if not (recompute and block.training and torch.is_grad_enabled()):
        return block(*inputs)
    norms = batch_norms(block)

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), frozen_statistics(norms) if norms else nullcontext()

    return checkpoint(fused.bind(block), *inputs, use_reentrant=False, context_fn=contexts)
