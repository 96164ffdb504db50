"""Moving batches to the device."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

from slowfast_mlp.data.batch import RawFrames, Views

AnyBatch = TypeVar("AnyBatch", Views, RawFrames)


def on_device(batches: Iterable[AnyBatch], device: torch.device) -> Iterator[AnyBatch]:
    """Yields the batches (Views or RawFrames) in order, on the device. No later stage moves them again.

    Copies to a GPU run on a stream of their own. If a batch is in pinned memory, its copy overlaps with the
    step before it, and the host does not wait.
    """
    if device.type != "cuda":
        yield from (batch.to(device) for batch in batches)
        return
    side = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(side):
            moved = batch.to(device, non_blocking=True)
        current = torch.cuda.current_stream(device)
        current.wait_stream(side)
        for part in moved:
            if isinstance(part, torch.Tensor) and part.is_cuda:
                part.record_stream(current)  # else its memory would be free for the next copy too early
        yield moved
