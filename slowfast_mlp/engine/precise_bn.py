"""Running statistics of batch norm between two epochs: the same on all ranks, or computed anew."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from slowfast_mlp.distributed import data_parallel
from slowfast_mlp.distributed.watchdog import Watchdog
from slowfast_mlp.engine.batch_norm import recompute_statistics
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.prefetch import on_device


@dataclass(frozen=True, kw_only=True)
class RunningStatistics:
    """Those of `nets`, of which every rank has its own while an epoch lasts.

    With `num_precise` above 0 (BN.USE_PRECISE_STATS) they are computed over that many of the epoch's first
    batches after every epoch that ends one of `periods`, in epochs, and after the last.
    """

    nets: Sequence[nn.Module]
    precision: Precision
    num_precise: int
    periods: Sequence[int]
    first_clips: Callable[[int], Iterator[Tensor]]

    def settle(self, epoch: int, *, is_last: bool, must_stop: Callable[[], bool]) -> bool:
        """Gives all ranks the same statistics after epoch index `epoch`: the mean of theirs, or those that
        are computed anew. False where `must_stop` ended that early. All ranks must call this.
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
    loader: DataLoader, to_input: Callable[[Any], Tensor], device: torch.device, watchdog: Watchdog
) -> Callable[[int], Iterator[Tensor]]:
    """A function that gives a model's clips [B, 3, T, S, S] of so many batches from the start of the epoch
    that the loader's sampler stands in.
    """
    watched = watchdog.watch(loader, "the running statistics of batch norm")

    def first_clips(num_batches: int) -> Iterator[Tensor]:
        loader.batch_sampler.forget()  # a run that came into the middle of the epoch looks at its start too
        return map(to_input, islice(on_device(watched, device), num_batches))

    return first_clips
