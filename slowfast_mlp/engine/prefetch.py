"""Batches on their way to the device."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch


def on_device(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """The batches (named tuples with `clips` and `labels`) in their order, with both on the device.

    To a GPU they go on a stream of their own, so that the copy of a batch runs beside the step before it, if
    they come from page-locked memory; the host waits for none of it.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch._replace(**{name: part.to(device) for name, part in _parts(batch).items()})
        return
    side = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(side):
            sent = {name: part.to(device, non_blocking=True) for name, part in _parts(batch).items()}
        current = torch.cuda.current_stream(device)
        current.wait_stream(side)
        for part in sent.values():
            part.record_stream(current)  # else its memory would be free for the next copy too early
        yield batch._replace(**sent)


def _parts(batch: Any) -> dict[str, torch.Tensor]:
    return {"clips": batch.clips, "labels": batch.labels}
