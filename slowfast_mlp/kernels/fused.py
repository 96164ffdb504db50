"""The switch between fused kernels and the reference implementation of a block, its own `forward`.

A block asks `enabled` in one line before its equation. Tracing (FLOP counting), hooks on the layers that the
kernel does not call and `use_reference` switch it to the equation.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn

_REFERENCE: ContextVar[bool] = ContextVar("use_reference", default=False)


@contextmanager
def use_reference() -> Iterator[None]:
    """Switches fused blocks to their reference implementation, for export and comparison.

    A thread starts without it: run its function in a copy of the context (contextvars.copy_context).
    """
    token = _REFERENCE.set(True)
    try:
        yield
    finally:
        _REFERENCE.reset(token)


def bind(block: nn.Module) -> Callable[..., Any]:
    """The block as a function that computes later, and on other threads, as it would compute now."""
    if not _REFERENCE.get():
        return block

    def run(*inputs: Any) -> Any:
        with use_reference():
            return block(*inputs)

    return run


def enabled(*layers: nn.Module) -> bool:
    """Whether a fused kernel may stand in for calls of `layers`, and of all layers inside them.

    Layers that are called beside the kernel are not passed: their hooks run all the same.
    """
    if _REFERENCE.get() or torch.jit.is_tracing():
        return False
    if torch.compiler.is_compiling():
        return True
    return not any(_has_hooks(module) for layer in layers for module in layer.modules())


def _has_hooks(module: nn.Module) -> bool:
    of_forward = module._forward_hooks or module._forward_pre_hooks
    return bool(of_forward or module._backward_hooks or module._backward_pre_hooks)
