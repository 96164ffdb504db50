"""Batch norms of a model, and steps and passes that leave their running statistics unchanged."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The batch norms in a model."""
    return [module for module in model.modules() if isinstance(module, BATCH_NORMS)]


class KeptStatistics:
    """A copy of the running statistics of a model, from before a step that may be skipped.

    The forward pass of such a step has already updated them with values that are not finite.
    """

    def __init__(self, model: nn.Module):
        self._buffers = [buffer for norm in batch_norms(model) for buffer in norm.buffers()]
        self.keep()

    def keep(self) -> None:
        """Copies the current statistics."""
        self._kept = [buffer.clone() for buffer in self._buffers]

    def restore_where(self, skipped: Tensor) -> None:
        """Restores the copy if `skipped` [] is true; the device decides, the host does not wait."""
        for buffer, kept in zip(self._buffers, self._kept):
            buffer.copy_(torch.where(skipped, kept, buffer))


@contextmanager
def frozen_statistics(norms: Sequence[nn.Module]) -> Iterator[None]:
    """Batch norms that normalize by their batch in training, but do not update their running statistics."""
    momenta = [norm.momentum for norm in norms]
    counters = [norm.num_batches_tracked.clone() for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, counter in zip(norms, momenta, counters):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(counter)
