"""A window that slides over frames, of which it keeps no more than it spans."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from slowfast_mlp.data.clip_sampling import Clips
from slowfast_mlp.data.video_io.stream import TimedFrame


class Window(NamedTuple):
    """The clips [V, 3, T, S, S] uint8 of a stretch of a video, and when it begins and ends."""

    start_sec: float
    end_sec: float
    views: Tensor


class _Kept(NamedTuple):
    time_sec: float
    views: Tensor  # V 3 1 S S


def slide(frames: Iterable[TimedFrame], cut: "Cutter", *, num_frames: int, stride: int) -> Iterator[Window]:
    """A window of `num_frames` frames every `stride` frames, and one that ends with the last frame.

    Fewer frames than a window spans make one window. Frames are shrunk to views as they come, so what is kept
    is `num_frames` views whatever the size and the length of the video.
    """
    kept: deque[_Kept] = deque(maxlen=num_frames)
    num_read = num_covered = 0
    for frame in frames:
        kept.append(_Kept(frame.time_sec, cut.shrink(frame.pixels)))
        num_read += 1
        if num_read >= num_frames and (num_read - num_frames) % stride == 0:
            yield cut.window(kept)
            num_covered = num_read
    if num_read > num_covered:
        yield cut.window(kept)


class Cutter:
    """What of a window goes to the model: as a test takes the frames of a video that is as long.

    `transform` makes views [V, 3, 1, S, S] of a frame [1, H, W, 3]; `clips` is the rule for frames, at `fps`.
    """

    def __init__(
        self,
        *,
        clips: Clips,
        transform: Callable[[Tensor], Tensor],
        fps: float,
        channel_order: str,
        seed: int,
    ):
        self._clips = clips
        self._transform = transform
        self._fps = fps
        self._is_bgr = channel_order == "BGR"
        self._seed = seed

    def shrink(self, pixels: Tensor) -> Tensor:
        """A frame [H, W, 3] -> its views [V, 3, 1, S, S]."""
        frames = pixels.unsqueeze(0)  # 1 H W 3
        return self._transform(frames.flip(-1) if self._is_bgr else frames)

    def window(self, kept: deque[_Kept]) -> Window:
        """The window over all frames that are kept."""
        generator = torch.Generator().manual_seed(self._seed)
        (indices,) = self._clips.views(len(kept), self._fps, 1, generator)
        views = torch.cat([kept[index].views for index in indices.tolist()], dim=2)  # V 3 T S S
        return Window(kept[0].time_sec, kept[-1].time_sec + 1 / self._fps, views)
