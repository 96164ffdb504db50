"""Data parallelism: gradients, running statistics and optimizer state over ranks."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from slowfast_mlp.distributed.process_group import is_in_group, sum_over_ranks, world_size


def replicate(model: nn.Module, where: torch.device) -> nn.Module:
    """Wraps the model in DDP, so that gradients are means over ranks; a single process gets it back as it is.

    Buffers are averaged by `average_buffers`.
    """
    if not is_in_group():
        return model
    with warnings.catch_warnings():
        # torch 2.15 has a new name for broadcast_buffers, which torch 2.6 does not know.
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            model,
            device_ids=[where.index] if where.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )


def no_sync(model: nn.Module) -> AbstractContextManager:
    """Accumulates gradients locally, without an all-reduce, until the next pass outside this context."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def shard_optimizer(
    kind: Callable[..., torch.optim.Optimizer], groups: list[dict[str, Any]], arguments: dict[str, Any]
) -> torch.optim.Optimizer:
    """`kind(groups, **arguments)` with its state sharded over ranks (ZeRO, stage 1)."""
    sharded = partial(ZeroRedundancyOptimizer, optimizer_class=kind) if is_in_group() else kind
    return sharded(groups, **arguments)


def gather_optimizer_state(optimizer: torch.optim.Optimizer) -> None:
    """Gathers the sharded `state_dict` on rank 0; all ranks must call this."""
    if isinstance(optimizer, ZeroRedundancyOptimizer):
        optimizer.consolidate_state_dict(to=0)


def average_buffers(model: nn.Module) -> None:
    """Gives every rank the mean of the floating-point buffers (batch norm's running statistics)."""
    if not is_in_group():
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            sum_over_ranks(buffer)
            buffer /= world_size()
