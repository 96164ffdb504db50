"""Precise BN: running statistics of batch norm, synchronized or recomputed between two epochs.

`fvcore.nn.update_bn_stats` does not fit: it sees one rank's batches only, cannot stop between two batches,
fails for a norm that is called twice, and replaces the buffers that EMA and skipped steps refer to.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from slowfast_mlp.distributed import data_parallel
from slowfast_mlp.distributed.process_group import sum_over_ranks
from slowfast_mlp.distributed.watchdog import Watchdog
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.prefetch import on_device
from slowfast_mlp.layers.batch_norm import batch_norms, frozen_statistics


@dataclass(frozen=True, kw_only=True)
class RunningStatistics:
    """BN running statistics of `nets`; they differ between ranks during an epoch.

    With `num_precise` above 0 (BN.USE_PRECISE_STATS) they are recomputed over that many of the epoch's first
    batches, after the last epoch and after every multiple of one of `periods` (epochs).
    """

    nets: Sequence[nn.Module]
    precision: Precision
    num_precise: int
    periods: Sequence[int]
    first_clips: Callable[[int], Iterator[Tensor]]

    def synchronize(self, epoch: int, *, is_last: bool, must_stop: Callable[[], bool]) -> bool:
        """Gives all ranks the same statistics after epoch index `epoch`: the mean over ranks, or recomputed
        ones. Returns False if `must_stop` interrupted that. All ranks must call this.
        """
        for net in self.nets:
            data_parallel.average_buffers(net)
        is_due = is_last or any((epoch + 1) % period == 0 for period in self.periods)
        if not self.num_precise or not is_due:
            return True
        return all(
            recompute_statistics(net, self.first_clips(self.num_precise), self.precision, must_stop=must_stop)
            for net in self.nets
        )


def first_clips_of(
    loader: DataLoader, transform: Callable[[Any], Tensor], device: torch.device, watchdog: Watchdog
) -> Callable[[int], Iterator[Tensor]]:
    """A function from a number of batches to their clips [B, 3, T, S, S], from the start of the loader's
    current epoch.
    """
    watched = watchdog.watch(loader, "the running statistics of batch norm")

    def first_clips(num_batches: int) -> Iterator[Tensor]:
        loader.batch_sampler.forget()  # the start also of an epoch that was resumed within
        return map(transform, islice(on_device(watched, device), num_batches))

    return first_clips


@torch.no_grad()
def recompute_statistics(
    model: nn.Module,
    batches: Iterable[Tensor],
    precision: Precision,
    *,
    must_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Sets mean and variance of every batch norm to those of all its inputs over the batches of all ranks.

    The batches are clips [B, 3, T, H, W], equally many on every rank. Batch norms normalize by their batch,
    as in training; all else is in eval mode. If `must_stop`, called before every batch, is true on all ranks,
    the statistics are left unchanged and the result is False.
    """
    moments = {norm: _Moments(norm) for norm in batch_norms(model)}
    with _observed_by(moments, model):
        for clips in batches:
            if must_stop():
                return False
            with precision.autocast():
                model(clips)
    for norm, own in moments.items():
        mean, variance = own.over_ranks()
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    return True


@contextmanager
def _observed_by(moments: Mapping[nn.Module, "_Moments"], model: nn.Module) -> Iterator[None]:
    """The model in eval mode with batch norms in training mode, whose inputs are added to their moments."""
    hooks = [norm.register_forward_pre_hook(own.add) for norm, own in moments.items()]
    was_training = model.training
    model.eval()
    for norm in moments:
        norm.train()
    try:
        with frozen_statistics(list(moments)):
            yield
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()


class _Moments:
    """Sums of all values that enter a batch norm, and of their squares, for each channel."""

    def __init__(self, norm: nn.Module):
        device = norm.running_mean.device
        # fp64 loses little where squares are subtracted; Apple's devices have none.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(3, norm.num_features, device=device, dtype=dtype)  # values, squares, count

    def add(self, norm: nn.Module, inputs: tuple[Tensor]) -> None:
        """Adds the input [B, C, ...] of a forward pass."""
        values = inputs[0].float().transpose(0, 1).flatten(1)  # C N
        variance, mean = (part.to(self._sums.dtype) for part in torch.var_mean(values, dim=1, correction=0))
        self._sums += values.shape[1] * torch.stack([mean, variance + mean.square(), torch.ones_like(mean)])

    def over_ranks(self) -> tuple[Tensor, Tensor]:
        """Mean and unbiased variance [C] over all ranks."""
        values, squares, count = sum_over_ranks(self._sums)
        mean = values / count
        return mean, (squares / count - mean.square()) * count / (count - 1)
