"""Sums over the steps of training, kept on the device."""

import torch
from torch import Tensor

from slowfast_mlp.distributed.process_group import sum_over_ranks


class RunningSums:
    """Sums kept on the device, so that adding to them never waits for it."""

    def __init__(self, names: tuple[str, ...], device: torch.device):
        self.names = names
        # fp32 where the device has no fp64 (Apple's).
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(len(names), device=device, dtype=dtype)

    def add(self, *values: Tensor | float) -> None:
        """Adds one number for each name."""
        for position, value in enumerate(values):
            self._sums[position] += value.detach() if isinstance(value, Tensor) else value

    def take(self) -> dict[str, float]:
        """The sums over all ranks since the last call, which then start from zero; waits for the device."""
        sums = sum_over_ranks(self._sums.clone()).tolist()
        self._sums.zero_()
        return dict(zip(self.names, sums))

    def state_dict(self) -> dict[str, float]:
        """The sums of this rank by name; waits for the device."""
        return dict(zip(self.names, self._sums.tolist()))

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continues from saved sums; a missing name starts from zero."""
        self._sums.copy_(torch.tensor([state.get(name, 0.0) for name in self.names], dtype=self._sums.dtype))
