"""The exponential moving average of a model's weights."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Ema:
    """A second `model` whose weights, and running statistics, follow those of the first, `decay` of them kept
    at every step. Whole numbers, such as counters, are copied.

    With `warmup` the decay of update n, from 0, is at most (1 + n) / (10 + n), so that the random weights of
    the start are soon forgotten.
    """

    def __init__(self, source: nn.Module, *, decay: float, warmup: bool = False):
        self.source = source
        self.decay = decay
        self.warmup = warmup
        self.model = copy.deepcopy(source).requires_grad_(False).eval()
        place = next(self.model.parameters()).device
        # On the device, which alone knows which steps were skipped.
        self._num_updates = torch.zeros((), dtype=torch.int64, device=place)

    def restart(self) -> None:
        """Takes the weights as they are now, as if no step had been."""
        self.model.load_state_dict(self.source.state_dict())
        self._num_updates.zero_()

    @torch.no_grad()
    def update(self, skipped: Tensor) -> None:
        """Follows a step, unless it was `skipped` []: the device decides, the host does not wait."""
        # Of the new weights in the average.
        share = torch.full((), 1 - self.decay, device=skipped.device)
        if self.warmup:
            share = torch.maximum(share, 9 / (10 + self._num_updates))
        share = share * ~skipped
        self._num_updates += ~skipped
        for own, value in zip(self.model.state_dict().values(), self.source.state_dict().values()):
            if own.is_floating_point():
                own.lerp_(value, share.to(own.dtype))
            else:
                own.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights, and how many updates made them; waits for the device."""
        return {"weights": self.model.state_dict(), "num_updates": int(self._num_updates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        self.model.load_state_dict(state["weights"])
        self._num_updates.fill_(state["num_updates"])
