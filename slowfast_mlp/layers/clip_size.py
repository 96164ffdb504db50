"""What backbones of fixed geometry check: tables of numbers a stage, divisors, and the shape of a clip; and
clips as frames.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NUM_STAGES = 4  # of every backbone with a pyramid of maps at 1/4, 1/8, 1/16 and 1/32 of the crop


def divisors(number: int) -> list[int]:
    """All divisors, ascending: the legal values that errors name."""
    return [n for n in range(1, number + 1) if number % n == 0]


def map_sizes(crop_size: int) -> tuple[int, ...]:
    """Side of the token map in every stage: the stem halves twice, every later stage once, rounding up."""
    sizes = [math.ceil(math.ceil(crop_size / 2) / 2)]
    while len(sizes) < NUM_STAGES:
        sizes.append(math.ceil(sizes[-1] / 2))
    return tuple(sizes)


def check_stage_tables(num_stages: int, **tables: tuple[int, ...] | None) -> None:
    """Raises ValueError for a table, by its name, without a number of 1 or more for every stage."""
    for name, table in tables.items():
        if table is not None and (len(table) != num_stages or min(table) < 1):
            raise ValueError(
                f"MODEL.ARGS.{name} {list(table)}: give {num_stages} numbers of 1 or more, one a stage."
            )


def clips_to_frames(clips: Tensor) -> Tensor:
    """The frames of clips [B, C, T, H, W] as images [B·T, C, H, W] in channels-last memory, in one copy."""
    images = clips.permute(0, 2, 3, 4, 1).flatten(0, 1)  # BT H W C
    return images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, kw_only=True)
class ClipSizes:
    """The clips [B, 3, T, S, S] that a model takes: those that it was built for, or also others.

    `min_frames` and `min_crop_size` are the least T and S of a model that takes any from there on; None means
    that it takes `num_frames` or `crop_size` alone, because a weight belongs to each place.
    """

    num_frames: int
    crop_size: int
    min_frames: int | None = None
    min_crop_size: int | None = None

    def accepts(self, num_frames: int, crop_size: int) -> bool:
        """Whether clips of these numbers of frames and pixels a side go through the model."""
        fits_time = (
            num_frames == self.num_frames if self.min_frames is None else num_frames >= self.min_frames
        )
        fits_space = (
            crop_size == self.crop_size if self.min_crop_size is None else crop_size >= self.min_crop_size
        )
        return fits_time and fits_space

    def describe(self) -> str:
        """The legal sizes, for an error."""
        frames = f"{self.num_frames}" if self.min_frames is None else f"{self.min_frames} or more"
        crop = f"{self.crop_size}" if self.min_crop_size is None else f"{self.min_crop_size} or more"
        return f"{frames} frames, {crop} pixels a side"

    def check(self, clips: Tensor) -> None:
        """Raises ValueError unless the model takes `clips`."""
        is_clip = clips.ndim == 5 and clips.shape[1] == 3 and clips.shape[3] == clips.shape[4]
        if not (is_clip and self.accepts(*clips.shape[2:4])):
            raise ValueError(
                f"This model takes clips [B, 3, T, S, S] of {self.describe()}; got {list(clips.shape)}."
            )
