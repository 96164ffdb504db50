"""The exponential moving average of a model's weights."""

import copy
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


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
        self.num_updates = 0

    def restart(self) -> None:
        """Takes the weights as they are now, as if no step had been."""
        self.model.load_state_dict(self.source.state_dict())
        self.num_updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Follows a step. Does not wait for the device."""
        n, self.num_updates = self.num_updates, self.num_updates + 1
        decay = min(self.decay, (1 + n) / (10 + n)) if self.warmup else self.decay
        averages, values = [], []
        for own, value in zip(self.model.state_dict().values(), self.source.state_dict().values()):
            if own.is_floating_point():
                averages.append(own)
                values.append(value)
            else:
                own.copy_(value)
        get_ema_multi_avg_fn(decay)(averages, values, None)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights, and how many updates made them."""
        return {"weights": self.model.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        self.model.load_state_dict(state["weights"])
        self.num_updates = int(state["num_updates"])
