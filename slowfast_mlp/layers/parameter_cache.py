"""Tensors derived from parameters, cached for evaluation."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class ParameterCache:
    """Caches a value derived from parameters and buffers; recomputed whenever one of them was written to,
    replaced or moved, or when `key` changes.

    A fused optimizer writes without counting it. So nothing is cached over a pass with gradients, nor while a
    parameter has one. The value is also recomputed while a graph is compiled or traced, and a copy of the
    model starts without one. Writes to `Parameter.data` go unseen.
    """

    def __init__(self) -> None:
        self._value: Any = None
        self._key: Any = None
        self._versions: list[tuple[Tensor, int]] = []

    def get(self, sources: Iterable[Tensor], key: Any, make: Callable[[], Any]) -> Any:
        """The value of `make`, which reads `sources`."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return make()
        sources = list(sources)
        if torch.is_grad_enabled() or any(source.grad is not None for source in sources):
            self.clear()
            return make()
        # Inference tensors do not count how often they were written to; fake and meta ones have no values.
        kinds = (nn.Parameter, Tensor)
        if any(type(source) not in kinds or source.is_inference() or source.is_meta for source in sources):
            return make()
        if self._value is None or key != self._key or not self._is_current(sources):
            self._value, self._key = make(), key
            # Aliases: they keep the memory from being given to another tensor, and share the count of writes.
            self._versions = [(source.detach(), source._version) for source in sources]
        return self._value

    def clear(self) -> None:
        """Gives the memory back."""
        self._value, self._key, self._versions = None, None, []

    def _is_current(self, sources: list[Tensor]) -> bool:
        return len(sources) == len(self._versions) and all(
            source._version == version and source.is_set_to(alias)
            for source, (alias, version) in zip(sources, self._versions)
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> "ParameterCache":
        return ParameterCache()

    def __reduce__(self) -> tuple[type, tuple]:
        return ParameterCache, ()


class CachingModule(nn.Module):
    """A module whose `caches` are emptied when its mode changes."""

    caches: Sequence[Any]

    def train(self, mode: bool = True) -> "CachingModule":
        """As nn.Module.train; gives the memory of the caches back."""
        for cache in self.caches:
            cache.clear()
        return super().train(mode)
