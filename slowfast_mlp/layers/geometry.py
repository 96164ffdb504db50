"""What backbones of fixed geometry check: tables of numbers a stage, divisors, and the shape of a clip."""

import math

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


def demand_stages(num_stages: int, **tables: tuple[int, ...] | None) -> None:
    """Raises ValueError for a table, by its name, without a number of 1 or more for every stage."""
    for name, table in tables.items():
        if table is not None and (len(table) != num_stages or min(table) < 1):
            raise ValueError(
                f"MODEL.ARGS.{name} {list(table)}: give {num_stages} numbers of 1 or more, one a stage."
            )


def demand_clips(clips: Tensor, num_frames: int, crop_size: int) -> None:
    """Raises ValueError unless `clips` are [B, 3, num_frames, crop_size, crop_size]."""
    expected = (3, num_frames, crop_size, crop_size)
    if tuple(clips.shape[1:]) != expected:
        raise ValueError(f"This model takes clips [B, {str(expected)[1:-1]}]; got {list(clips.shape)}.")
