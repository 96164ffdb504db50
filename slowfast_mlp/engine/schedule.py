"""The learning rate as a function of the epoch."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WarmupCosine:
    """Linear from `start_lr` to `base_lr` over `warmup_epochs`, then half a cosine to `end_lr` at
    `max_epoch`.
    """

    base_lr: float
    start_lr: float
    end_lr: float
    warmup_epochs: float
    max_epoch: int

    def __call__(self, epoch: float) -> float:
        """Learning rate at a fractional epoch, 0 to `max_epoch`."""
        if epoch < self.warmup_epochs:
            return self.start_lr + (self.base_lr - self.start_lr) * epoch / self.warmup_epochs
        progress = (epoch - self.warmup_epochs) / max(self.max_epoch - self.warmup_epochs, 1e-9)
        return self.end_lr + (self.base_lr - self.end_lr) * 0.5 * (1 + math.cos(math.pi * progress))
