"""A sliding window over the frames of a stream, in memory for the views of one window."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from slowfast_mlp.data.clip_sampling import ClipSampler
from slowfast_mlp.data.video_io.stream import TimedFrame


class WindowViews(NamedTuple):
    """The views [V, 3, T, S, S] uint8 of a part of a video, with its start and end."""

    start_sec: float
    end_sec: float
    views: Tensor


class _FrameViews(NamedTuple):
    time_sec: float
    views: Tensor  # V 3 1 S S


def slide(
    frames: Iterable[TimedFrame], sampler: "WindowSampler", *, num_frames: int, stride: int
) -> Iterator[WindowViews]:
    """A window of `num_frames` frames every `stride` frames, and one that ends with the last frame.

    Fewer frames than a window spans make one window. Frames become views as they arrive, so memory holds
    `num_frames` views, whatever the size and the length of the video.
    """
    recent: deque[_FrameViews] = deque(maxlen=num_frames)
    num_read = num_covered = 0
    for frame in frames:
        recent.append(_FrameViews(frame.time_sec, sampler.shrink(frame.pixels)))
        num_read += 1
        if num_read >= num_frames and (num_read - num_frames) % stride == 0:
            yield sampler.window(recent)
            num_covered = num_read
    if num_read > num_covered:
        yield sampler.window(recent)


@dataclass(frozen=True, kw_only=True)
class WindowSampler:
    """Makes the views of a window, sampled like the clip of an evaluation from a video of that length.

    `transform` makes views [V, 3, 1, S, S] of a frame [1, H, W, 3]; `clip_sampler` chooses frames at `fps`.
    """

    clip_sampler: ClipSampler
    transform: Callable[[Tensor], Tensor]
    fps: float
    channel_order: str
    seed: int

    def shrink(self, pixels: Tensor) -> Tensor:
        """A frame [H, W, 3] -> its views [V, 3, 1, S, S]."""
        frames = pixels.unsqueeze(0)  # 1 H W 3
        return self.transform(frames.flip(-1) if self.channel_order == "BGR" else frames)

    def window(self, recent: deque[_FrameViews]) -> WindowViews:
        """The window over all frames in memory."""
        generator = torch.Generator().manual_seed(self.seed)
        (indices,) = self.clip_sampler.views(len(recent), self.fps, 1, generator)
        views = torch.cat([recent[index].views for index in indices.tolist()], dim=2)  # V 3 T S S
        return WindowViews(recent[0].time_sec, recent[-1].time_sec + 1 / self.fps, views)
