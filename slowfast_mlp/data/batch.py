"""Items and batches of the loaders: views ready for the device, or raw frames that the device augments."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from slowfast_mlp.data.transforms.augment_params import AugmentParams


class Failure(NamedTuple):
    """Views of one video that failed to decode, with the reason."""

    video: int
    path: str
    reason: str
    num_views: int


class Views(NamedTuple):
    """Views with their labels: one item of a dataset, or a batch.

    clips [N, 3, T, S, S] uint8, labels [N] int64, videos [N] int64 (record positions). Training views have
    `params`, one each. Failures travel with the views because workers share no memory with the main process.
    """

    clips: Tensor
    labels: Tensor
    videos: Tensor
    failures: tuple[Failure, ...]
    params: tuple[AugmentParams, ...] = ()

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "Views":
        """The same batch with clips and labels on the device; `videos` are for the host."""
        clips, labels = (part.to(device, non_blocking=non_blocking) for part in (self.clips, self.labels))
        return self._replace(clips=clips, labels=labels)


class RawFrames(NamedTuple):
    """Decoded frames that are still to be augmented, on the device: one item of a dataset, or a batch.

    frames [bytes] uint8 holds the frames [T, H, W, 3] of one video after the other; `sizes` are their
    (T, H, W). Each video becomes the same number of views, N in all, with `params` one each. labels [N],
    videos [N] and failures as in Views.
    """

    frames: Tensor
    sizes: tuple[tuple[int, int, int], ...]
    labels: Tensor
    videos: Tensor
    failures: tuple[Failure, ...]
    params: tuple[AugmentParams, ...]

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "RawFrames":
        """The same batch with frames and labels on the device; `videos` are for the host."""
        frames, labels = (part.to(device, non_blocking=non_blocking) for part in (self.frames, self.labels))
        return self._replace(frames=frames, labels=labels)

    def split(self) -> list[Tensor]:
        """The frames [T, H, W, 3] of every video."""
        lengths = [3 * num_frames * height * width for num_frames, height, width in self.sizes]
        return [part.reshape(*size, 3) for part, size in zip(self.frames.split(lengths), self.sizes)]


Batch = Views | RawFrames


def collate(items: Sequence[Batch]) -> Batch:
    """Joins several items of one dataset into a batch; an item without views adds its failures only."""
    filled = [item for item in items if len(item.labels)] or items[:1]
    labels = torch.cat([item.labels for item in filled])
    videos = torch.cat([item.videos for item in filled])
    failures = tuple(failure for item in items for failure in item.failures)
    params = tuple(one for item in filled for one in item.params)
    if isinstance(filled[0], RawFrames):
        frames = _cat([item.frames for item in filled])
        sizes = tuple(size for item in filled for size in item.sizes)
        return RawFrames(frames, sizes, labels, videos, failures, params)
    clips = [item.clips.permute(0, 2, 3, 4, 1) for item in filled]  # V T S S 3: as they lie in memory
    return Views(_cat(clips).permute(0, 4, 1, 2, 3), labels, videos, failures, params)


def _cat(parts: Sequence[Tensor]) -> Tensor:
    """As torch.cat along dimension 0; in a worker, written directly to shared memory, which saves a copy."""
    joined = torch.empty(sum(map(len, parts)), *parts[0].shape[1:], dtype=parts[0].dtype)
    if get_worker_info() is not None:
        joined.share_memory_()
    return torch.cat(parts, out=joined)
