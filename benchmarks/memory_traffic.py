"""What a computation does to memory, counted operator by operator: no clock, and on meta tensors no memory
either.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COPIES = {"clone", "copy_", "_to_copy", "contiguous"}
# Operators that compute nothing: what they give is memory without content, or known to the host.
NO_TRAFFIC = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "is_same_size"}
# In-place operators that only write their first argument.
WRITE_ONLY = {"copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_"}


@dataclass
class MemoryTraffic:
    """`names`: operators that compute or copy, in order. `bytes_moved`: what each reads and writes, once,
    were it to find nothing in a cache. `permute_copies`: elements of every copy that lays its elements out in
    another order, one number a copy. `peak_bytes`: the most that was alive at once of what the operators
    made.
    """

    names: list[str] = field(default_factory=list)
    bytes_moved: int = 0
    permute_copies: list[int] = field(default_factory=list)
    peak_bytes: int = 0

    @property
    def kernels(self) -> int:
        """How many operators compute or copy."""
        return len(self.names)


def measure_traffic(work: Callable[[], object]) -> MemoryTraffic:
    """The traffic of one call. Compiled code shows none of its operators here."""
    counter = _TrafficCounter()
    with counter:
        result = work()
    del result
    return counter.traffic


@contextmanager
def saved_bytes() -> Iterator[Callable[[], int]]:
    """Within it, what autograd keeps for the backward pass adds up: the call that it yields gives the bytes,
    without parameters, of memory that several operators keep counted once.
    """
    storages: dict[int, torch.UntypedStorage] = {}  # holding them keeps their addresses their own

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter) and not isinstance(tensor._base, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield lambda: sum(storage.nbytes() for storage in storages.values())


class _TrafficCounter(TorchDispatchMode):
    """Sees every operator below autograd and autocast."""

    def __init__(self):
        super().__init__()
        self.traffic = MemoryTraffic()
        self._alive: dict[int, int] = {}
        self._alive_bytes = 0

    def __torch_dispatch__(
        self, operator: Any, types: Any, arguments: tuple = (), keywords: dict | None = None
    ) -> Any:
        result = operator(*arguments, **(keywords or {}))
        name = operator.overloadpacket.__name__
        read = _tensors((arguments, _without_out(operator, keywords or {})))
        written = _tensors(result)
        for tensor in written:
            self._track(tensor)
        is_inplace = name.endswith("_") and not name.startswith("_")
        known = {tensor.untyped_storage()._cdata for tensor in read}
        is_view = not is_inplace and all(tensor.untyped_storage()._cdata in known for tensor in written)
        if name in NO_TRAFFIC or not written or (is_view and not _writes(operator)):
            return result
        if name in WRITE_ONLY:
            read = [tensor for tensor in read if tensor is not arguments[0]]
        self.traffic.names.append(name)
        self.traffic.bytes_moved += sum(map(_distinct_bytes, read)) + sum(map(_distinct_bytes, written))
        if name in COPIES and read and _axis_order(read[-1]) != _axis_order(written[0]):
            self.traffic.permute_copies.append(written[0].numel())
        return result

    def _track(self, tensor: Tensor) -> None:
        """Counts the memory of a tensor as alive until it goes."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        self._alive[key] = storage.nbytes()
        self._alive_bytes += storage.nbytes()
        self.traffic.peak_bytes = max(self.traffic.peak_bytes, self._alive_bytes)
        weakref.finalize(storage, self._untrack, key)

    def _untrack(self, key: int) -> None:
        self._alive_bytes -= self._alive.pop(key, 0)


def _tensors(tree: Any) -> list[Tensor]:
    """The tensors in what an operator takes or gives, each once."""
    found = {id(leaf): leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)}
    return list(found.values())


def _without_out(operator: Any, keywords: dict) -> dict:
    """The keywords without those that take a result (`out=`), which are written alone."""
    outs = {argument.name for argument in operator._schema.arguments if argument.is_out}
    return {name: value for name, value in keywords.items() if name not in outs}


def _writes(operator: Any) -> bool:
    """Whether an operator writes what it is given."""
    return any(
        argument.alias_info and argument.alias_info.is_write for argument in operator._schema.arguments
    )


def _distinct_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's elements; what a broadcast repeats counts once."""
    count = tensor.element_size()
    for size, stride in zip(tensor.shape, tensor.stride()):
        count *= size if stride else min(size, 1)
    return count


def _axis_order(tensor: Tensor) -> list[int]:
    """The axes with more than one element in the order in which memory holds them."""
    axes = [axis for axis, size in enumerate(tensor.shape) if size > 1]
    return sorted(axes, key=lambda axis: -tensor.stride(axis))
