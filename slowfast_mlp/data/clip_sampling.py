"""Clip sampling: which frames of a video make a clip. Pure index arithmetic.

"Dense" sampling is PySlowFast's for Kinetics (pyav and torchvision readers) and what the papers of this
family test with. A clip of T frames at rate r spans T·r frames at the target rate, so that its frames are
unevenly spaced: 16 at rate 4 are 0, 4, 8, 12, 16, 21, 25 ... 63.

"Segment" sampling is that of PySlowFast's forks for Something-Something (their dataset `sth`): the video is
cut into T equal parts, and every part gives a frame, a random one in training. Neither the rate nor the frame
rate matters. A video of fewer than T frames gives frames several times.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


def clip_span(num_frames: int, sampling_rate: float, fps: float, target_fps: float) -> float:
    """Length of a clip in frames of a video of `fps`; at least one."""
    return max(1.0, sampling_rate * num_frames * fps / target_fps)


def clip_indices(start: float, span: float, num_video_frames: int, num_frames: int) -> Tensor:
    """Frame numbers [T] (int64) of the clip from `start`; past the end the last frame repeats."""
    # float32 on purpose: PySlowFast's linspace, with its rounding.
    positions = torch.linspace(start, start + span - 1, num_frames, dtype=torch.float32)
    return positions.clamp(0, num_video_frames - 1).long()


def random_start(num_video_frames: int, span: float, generator: torch.Generator) -> float:
    """Start of a training clip, uniform over where it can lie; real-valued, as in PySlowFast."""
    return max(num_video_frames - span, 0.0) * torch.rand((), generator=generator, dtype=torch.float64).item()


def view_start(num_video_frames: int, span: float, view: int, num_views: int, *, offset: bool) -> float:
    """Start of temporal view `view` of `num_views`.

    With `offset` (PySlowFast's USE_OFFSET_SAMPLING; MViT, MorphMLP, UniFormer) views reach from the first
    frame to the last, and a single one lies in the middle. Without, view i starts at i/K of the way: one view
    takes the beginning.
    """
    room = max(num_video_frames - span, 0.0)
    if not offset:
        return room * view / num_views
    if num_views == 1:
        return float(math.floor(room / 2))
    return float(view * math.floor(room / (num_views - 1)))


def segment_borders(num_video_frames: int, num_frames: int) -> Tensor:
    """Borders of `num_frames` equal segments: frame numbers [T + 1] (float64, integral)."""
    length = (num_video_frames - 1) / num_frames
    # Halves go to the even neighbor, in torch as in the forks' numpy.
    return (length * torch.arange(num_frames + 1, dtype=torch.float64)).round()


def random_segments(num_video_frames: int, num_frames: int, generator: torch.Generator) -> Tensor:
    """Frame numbers [T] (int64): one of each segment, uniformly, its two borders included."""
    borders = segment_borders(num_video_frames, num_frames)
    first, last = borders[:-1], borders[1:]
    share = torch.rand(num_frames, generator=generator, dtype=torch.float64)
    return (first + (share * (last - first + 1)).floor()).long()


def view_segments(num_video_frames: int, num_frames: int, view: int, num_views: int) -> Tensor:
    """Frame numbers [T] (int64) of test view `view`: (view + 1) / (num_views + 1) into every segment.

    A single view takes the middle frames.
    """
    step = (num_video_frames - 1) / num_frames / (num_views + 1)
    return segment_borders(num_video_frames, num_frames)[:-1].long() + int(step * (view + 1))


class ClipSampler(Protocol):
    """Chooses the frames of the clips of a video."""

    def random(self, num_video_frames: int, fps: float, generator: torch.Generator) -> Tensor:
        """Frame numbers [T] of a training clip."""

    def views(
        self, num_video_frames: int, fps: float, num_views: int, generator: torch.Generator
    ) -> list[Tensor]:
        """Frame numbers [T] of each of `num_views` test clips; the generator only serves `shuffle`."""


@dataclass(frozen=True, kw_only=True)
class DenseClipSampler:
    """Dense sampling: clips of `num_frames` frames at `sampling_rate`.

    `shuffle` puts the frames of every clip in random order, as a control: it shows how much a model uses the
    order of frames.
    """

    num_frames: int
    sampling_rate: float
    target_fps: float
    offset: bool
    shuffle: bool

    def random(self, num_video_frames: int, fps: float, generator: torch.Generator) -> Tensor:
        """Frame numbers [T] of a training clip."""
        span = clip_span(self.num_frames, self.sampling_rate, fps, self.target_fps)
        start = random_start(num_video_frames, span, generator)
        indices = clip_indices(start, span, num_video_frames, self.num_frames)
        return _ordered(indices, generator, shuffle=self.shuffle)

    def views(
        self, num_video_frames: int, fps: float, num_views: int, generator: torch.Generator
    ) -> list[Tensor]:
        """Frame numbers [T] of each of `num_views` test clips; the generator only serves `shuffle`."""
        span = clip_span(self.num_frames, self.sampling_rate, fps, self.target_fps)
        starts = [
            view_start(num_video_frames, span, view, num_views, offset=self.offset)
            for view in range(num_views)
        ]
        return [
            _ordered(
                clip_indices(start, span, num_video_frames, self.num_frames), generator, shuffle=self.shuffle
            )
            for start in starts
        ]


@dataclass(frozen=True, kw_only=True)
class SegmentClipSampler:
    """Segment sampling: one frame of each of `num_frames` segments; `shuffle` as in DenseClipSampler."""

    num_frames: int
    shuffle: bool

    def random(self, num_video_frames: int, fps: float, generator: torch.Generator) -> Tensor:
        """Frame numbers [T] of a training clip."""
        indices = random_segments(num_video_frames, self.num_frames, generator)
        return _ordered(indices, generator, shuffle=self.shuffle)

    def views(
        self, num_video_frames: int, fps: float, num_views: int, generator: torch.Generator
    ) -> list[Tensor]:
        """Frame numbers [T] of each of `num_views` test clips; the generator only serves `shuffle`."""
        views = [
            view_segments(num_video_frames, self.num_frames, view, num_views) for view in range(num_views)
        ]
        return [_ordered(indices, generator, shuffle=self.shuffle) for indices in views]


def _ordered(indices: Tensor, generator: torch.Generator, *, shuffle: bool) -> Tensor:
    return indices[torch.randperm(len(indices), generator=generator)] if shuffle else indices
