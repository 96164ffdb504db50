"""The exponential moving average of a model's weights."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class Ema:
    """A second `model` with the exponential moving average of the weights and running statistics of `source`.
    Integers, such as counters, are copied.

    With `warmup` the decay of update n, from 0, is at most (1 + n) / (10 + n), so that the average soon
    forgets the random initial weights.
    """

    def __init__(self, source: nn.Module, *, decay: float, warmup: bool = False):
        self.source = source
        self.decay = decay
        self.warmup = warmup
        self.model = copy.deepcopy(source).requires_grad_(False).eval()
        place = next(self.model.parameters()).device
        # On the device: the host does not know which steps were skipped.
        self._num_updates = torch.zeros((), dtype=torch.int64, device=place)

    def restart(self) -> None:
        """Restarts the average from the current weights."""
        self.model.load_state_dict(self.source.state_dict())
        self._num_updates.zero_()

    @torch.no_grad()
    def update(self, skipped: Tensor) -> None:
        """Updates the average after a step, unless it was `skipped` []; the host does not wait."""
        # Weight of the new values in the average.
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
        """The averaged weights and the number of updates; waits for the device."""
        return {"weights": self.model.state_dict(), "num_updates": int(self._num_updates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a saved state."""
        self.model.load_state_dict(state["weights"])
        self._num_updates.fill_(state["num_updates"])
