"""Batch norms of a model: kept from following a batch, or their statistics computed anew over many."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from slowfast_mlp.distributed.process_group import sum_over_ranks
from slowfast_mlp.engine.precision import Precision

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The batch norms in a model."""
    return [module for module in model.modules() if isinstance(module, BATCH_NORMS)]


class KeptStatistics:
    """The running statistics of a model's batch norms, as they were before a step that may be skipped.

    The forward pass of such a step has already put what is not finite into them.
    """

    def __init__(self, model: nn.Module):
        self._buffers = [buffer for norm in batch_norms(model) for buffer in norm.buffers()]
        self.keep()

    def keep(self) -> None:
        """Copies them as they are now."""
        self._kept = [buffer.clone() for buffer in self._buffers]

    def restore_where(self, skipped: Tensor) -> None:
        """Puts back what was kept if `skipped` [] is true; the device decides, the host does not wait."""
        for buffer, kept in zip(self._buffers, self._kept):
            buffer.copy_(torch.where(skipped, kept, buffer))


@contextmanager
def frozen_statistics(norms: Sequence[nn.Module]) -> Iterator[None]:
    """Batch norms that use the statistics of their batch in training, but whose own do not follow it."""
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


@torch.no_grad()
def recompute_statistics(
    model: nn.Module,
    batches: Iterable[Tensor],
    precision: Precision,
    *,
    must_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Sets mean and variance of every batch norm to those of all values that it sees in the batches; or
    leaves them and returns False, where `must_stop`, asked before every batch, says so on all ranks.

    The batches are clips [B, 3, T, H, W]; every rank has its own, as many as the others. Batch norms
    normalise by their batch, as in training; all else is as in evaluation, so that nothing is dropped at
    random.
    """
    norms = batch_norms(model)
    moments = [_Moments(norm) for norm in norms]
    hooks = [norm.register_forward_pre_hook(own.add) for norm, own in zip(norms, moments)]
    was_training = model.training
    model.eval()
    for norm in norms:
        norm.train()
    try:
        with frozen_statistics(norms):
            for clips in batches:
                if must_stop():
                    return False
                with precision.autocast():
                    model(clips)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    for norm, own in zip(norms, moments):
        mean, variance = own.over_ranks()
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    return True


class _Moments:
    """Sums over all values that enter a batch norm, and over their squares, for each channel."""

    def __init__(self, norm: nn.Module):
        place = norm.running_mean.device
        # fp64, so that little is lost where squares are subtracted; Apple's devices have none.
        dtype = torch.float32 if place.type == "mps" else torch.float64
        self._sums = torch.zeros(2, norm.num_features, device=place, dtype=dtype)
        self._count = torch.zeros(1, device=place, dtype=dtype)

    def add(self, norm: nn.Module, inputs: tuple[Tensor]) -> None:
        """Takes the input [B, C, ...] of a forward pass."""
        values = inputs[0].float().transpose(0, 1).flatten(1)  # C N
        variance, mean = (part.to(self._sums.dtype) for part in torch.var_mean(values, dim=1, correction=0))
        self._sums += values.shape[1] * torch.stack([mean, variance + mean.square()])
        self._count += values.shape[1]

    def over_ranks(self) -> tuple[Tensor, Tensor]:
        """Mean and unbiased variance [C] over all ranks."""
        sums, count = sum_over_ranks(self._sums), sum_over_ranks(self._count)
        mean, mean_square = sums / count
        return mean, (mean_square - mean.square()) * count / (count - 1)
