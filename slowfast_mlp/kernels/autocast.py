"""Autocast is asked once, and then kept out: kernels choose the type of every step themselves.

On a GPU it would compute norms and some sums of products in float32, which the kernels of norms do inside
anyway: each would first be a pass over the map for a copy of it, and its result twice as large.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type in which the products of `x` are computed: autocast's where that is on, else its own."""
    device_type = x.device.type
    if (
        _supports_autocast(device_type)
        and torch.is_autocast_enabled(device_type)
        and x.dtype != torch.float64
    ):
        return torch.get_autocast_dtype(device_type)
    return x.dtype


def disable_autocast(x: Tensor) -> AbstractContextManager:
    """Within it, what is computed on the device of `x` has the types that it is given."""
    device_type = x.device.type
    return torch.autocast(device_type, enabled=False) if _supports_autocast(device_type) else nullcontext()


def custom_fwd(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Makes `forward(ctx, x, ...)` of an autograd Function one without autocast; `ctx.dtype` is the
    `compute_dtype` of x.
    """

    @functools.wraps(forward)
    def run(ctx: Any, x: Tensor, *arguments: Any) -> Tensor:
        ctx.dtype = compute_dtype(x)
        with disable_autocast(x):
            return forward(ctx, x, *arguments)

    return run


def _supports_autocast(device_type: str) -> bool:
    """The meta device does not."""
    return torch.amp.is_autocast_available(device_type)
