"""Asking for the readable forms: who looks into layers wants each to be called as it is written."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_asked = False


@contextmanager
def plainly() -> Iterator[None]:
    """Within it, blocks that have both a readable form and a quick one compute by the readable one."""
    global _asked
    before, _asked = _asked, True
    try:
        yield
    finally:
        _asked = before


def is_plain() -> bool:
    """Whether the readable form is asked for; also by who traces a network, to count its products as the
    papers do.
    """
    return _asked or torch.jit.is_tracing()
