"""The learning rate as a function of the epoch."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WarmupCosine:
    """Linear warm-up from `start_lr` over `warmup_epochs`, then half a cosine from `base_lr` to `end_lr`. The
    last `cooldown_epochs` of `max_epoch` keep `end_lr`.

    The cosine starts after the warm-up. Without `cosine_after_warmup` it starts with the training, and the
    warm-up ends on the cosine, as in PySlowFast. (timm's warm-up ends at `base_lr`.)
    """

    base_lr: float
    start_lr: float
    end_lr: float
    warmup_epochs: float
    max_epoch: int
    cosine_after_warmup: bool = True
    cooldown_epochs: int = 0

    def __call__(self, epoch: float) -> float:
        """Learning rate at a fractional epoch, 0 to `max_epoch`."""
        if epoch < self.warmup_epochs:
            top = self._cosine(self.warmup_epochs)
            return self.start_lr + (top - self.start_lr) * epoch / self.warmup_epochs
        return self._cosine(epoch)

    def _cosine(self, epoch: float) -> float:
        first = self.warmup_epochs if self.cosine_after_warmup else 0.0
        length = max(self.max_epoch - self.cooldown_epochs - first, 1e-9)
        progress = min(1.0, (epoch - first) / length)
        return self.end_lr + (self.base_lr - self.end_lr) * 0.5 * (1 + math.cos(math.pi * progress))
