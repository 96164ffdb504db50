"""How often the host waits for the device."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Calls of a tensor that hand a value to Python.
SYNC_METHODS = {
    getattr(Tensor, name)
    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__")
}


def count_host_syncs(
    work: Callable[[], object], device: torch.device, optimizer: torch.optim.Optimizer
) -> int:
    """Waits during one call. On a GPU torch says where it waits; elsewhere what counts is every value that
    Python asks of a tensor, but for the optimiser, whose counters of steps lie on the host.
    """
    if device.type == "cuda":
        return _count_cuda_syncs(work)
    counter = _SyncCounter()
    hooks = [
        optimizer.register_step_pre_hook(lambda *_: counter.pause()),
        optimizer.register_step_post_hook(lambda *_: counter.resume()),
    ]
    try:
        with counter:
            work()
    finally:
        for hook in hooks:
            hook.remove()
    return counter.count


def _count_cuda_syncs(work: Callable[[], object]) -> int:
    mode = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            work()
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    return sum("synchroniz" in str(warning.message) for warning in caught)


class _SyncCounter(TorchFunctionMode):
    """Counts values that are asked of tensors."""

    def __init__(self):
        super().__init__()
        self.count = 0
        self._is_paused = False

    def pause(self) -> None:
        """Counts nothing until `resume`."""
        self._is_paused = True

    def resume(self) -> None:
        """Counts again."""
        self._is_paused = False

    def __torch_function__(
        self, function: Callable, types: Any, arguments: tuple = (), keywords: dict | None = None
    ) -> Any:
        if function in SYNC_METHODS and not self._is_paused:
            self.count += 1
        return function(*arguments, **(keywords or {}))
