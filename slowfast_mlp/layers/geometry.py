"""What backbones of fixed geometry check: tables of numbers a stage, divisors, and the shape of a clip."""

from torch import Tensor


def divisors(number: int) -> list[int]:
    """All divisors, ascending: the legal values that errors name."""
    return [n for n in range(1, number + 1) if number % n == 0]


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
