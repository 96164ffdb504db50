"""The straightforward forms of backbones in benchmarks/reference, and what of a pass can be counted."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FOLDER = Path(__file__).parents[2] / "benchmarks" / "reference"


def reference(name: str) -> ModuleType:
    """The module whose `build(model)` gives the straightforward form with the same weights."""
    spec = importlib.util.spec_from_file_location(f"reference_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Operators:
    """What ran: names in order, and the elements of every copy that lays them out in another order."""

    names: list[str] = field(default_factory=list)
    permuted: list[int] = field(default_factory=list)


def operators_of(work: Callable[[], object]) -> Operators:
    """The operators of a call that compute or copy, below autograd."""
    counter = _Counter()
    with counter:
        work()
    return counter.operators


class _Counter(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operators = Operators()

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        result = operator(*arguments, **(keywords or {}))
        name = operator.overloadpacket.__name__
        read = [leaf for leaf in tree_leaves((arguments, keywords)) if isinstance(leaf, Tensor)]
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        known = {tensor.untyped_storage()._cdata for tensor in read}
        is_view = all(tensor.untyped_storage()._cdata in known for tensor in written)
        if name.startswith("empty") or (is_view and not name.endswith("_")):
            return result
        self.operators.names.append(name)
        if name in ("clone", "copy_", "_to_copy") and _order(read[-1]) != _order(written[0]):
            self.operators.permuted.append(written[0].numel())
        return result


def _order(tensor: Tensor) -> list[int]:
    axes = [axis for axis, size in enumerate(tensor.shape) if size > 1]
    return sorted(axes, key=lambda axis: -tensor.stride(axis))
