"""Multigrid training: short and small clips in large batches early, the full size at the end, at the same
cost a step (Wu et al., CVPR 2020, arXiv 1912.00998).

T frames and S pixels a side are those of the settings, B clips a step the batch size. Shapes change on two
scales. The long cycle goes from epoch to epoch through (8B, T/4, S/√2), (4B, T/2, S/√2), (2B, T/2, S) and
(B, T, S), several times, and ends at the last. The short cycle goes from step to step through crops of S/2,
S/√2 and the epoch's own, with as many clips as fit into the same number of pixels.

All here are functions of numbers. An epoch is always one pass over the records; it has fewer steps where
batches are large.
"""

import logging
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

# Shares of T and of S.
LONG_CYCLE = ((1 / 4, math.sqrt(1 / 2)), (1 / 2, math.sqrt(1 / 2)), (1 / 2, 1.0), (1.0, 1.0))
SHORT_CYCLE = (1 / 2, math.sqrt(1 / 2))  # shares of S
# Where the long cycles of a training end, as shares of it: the steps of the learning rate in the authors'
# Kinetics recipe, 94, 154 and 196 of 239 epochs. What follows is for fine-tuning at the full size.
CYCLE_ENDS = (94 / 239, 154 / 239, 196 / 239)
CROP_MULTIPLE = 16  # pixels: smaller crops are rounded to whole places of a map at 1/16
MIN_FRAMES = 2  # of a clip that has a time at all


class StepShape(NamedTuple):
    """The clips of a step: `batch_factor` times the batch size, their frames and their side in pixels.

    None is what the data set was built for.
    """

    batch_factor: int = 1
    num_frames: int | None = None
    crop_size: int | None = None


class Phase(NamedTuple):
    """Epochs before `end` (and after the phase before), whose steps have `shapes` in turn; the last is the
    phase's own.
    """

    end: int
    shapes: tuple[StepShape, ...]


@dataclass(frozen=True, kw_only=True)
class Multigrid:
    """The shapes of a training's steps. Without both cycles every step has the shape of the settings.

    `num_frames` and `crop_size` are T and S; `max_epoch` is the length of the plain training, of which that
    with a cycle has `epoch_factor` times as many epochs.
    """

    long_cycle: bool
    short_cycle: bool
    epoch_factor: float
    num_frames: int
    crop_size: int
    max_epoch: int

    @property
    def has_cycle(self) -> bool:
        """Whether this is multigrid training at all."""
        return self.long_cycle or self.short_cycle

    @property
    def num_epochs(self) -> int:
        """Epochs of the training."""
        return max(1, round(self.max_epoch * self.epoch_factor)) if self.has_cycle else self.max_epoch

    @property
    def num_planned_phases(self) -> int:
        """Phases of a training that is long enough for all."""
        return len(CYCLE_ENDS) * len(LONG_CYCLE) + 1 if self.long_cycle else 1

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """The phases in order; those that are too short for an epoch are left out, but never the last."""
        if not self.long_cycle:
            shapes = self._shapes(1.0, 1.0) if self.short_cycle else (StepShape(),)
            return (Phase(self.num_epochs, shapes),)
        cycle = [self._shapes(time, side) for time, side in LONG_CYCLE]
        batches = [sum(shape.batch_factor for shape in shapes) / len(shapes) for shapes in cycle]
        lengths = phase_lengths(batches, CYCLE_ENDS)
        phases, start, share = [], 0, 0.0
        for length, shapes in zip(lengths, cycle * len(CYCLE_ENDS)):
            share += length
            end = min(self.num_epochs - 1, round(share * self.max_epoch * self.epoch_factor))
            phases += [Phase(end, shapes)] if end > start else []
            start = max(start, end)
        return (*phases, Phase(self.num_epochs, cycle[-1]))

    def all_shapes(self) -> list[StepShape]:
        """Every shape that a step of the training can have."""
        return sorted({shape for phase in self.phases for shape in phase.shapes})

    def shapes_at(self, epoch: int) -> tuple[StepShape, ...]:
        """The shapes that the steps of the epoch (from 0) have in turn, beginning with the first."""
        ends = [phase.end for phase in self.phases]
        return self.phases[min(bisect_right(ends, epoch), len(ends) - 1)].shapes

    def lr_factor(self, epoch: float) -> int:
        """What multiplies the learning rate at a fractional epoch: the batch of the phase over B.

        The batches of the short cycle do not count, as in PySlowFast: they come and go with every step.
        """
        return self.shapes_at(int(epoch))[-1].batch_factor

    def steps_of_epochs(self, num_records: int, batch_size: int) -> list[int]:
        """The number of steps of every epoch over so many records, `batch_size` being B."""
        return [
            count_steps(num_records, [batch_size * shape.batch_factor for shape in self.shapes_at(epoch)])
            for epoch in range(self.num_epochs)
        ]

    def most_left_out(self, num_records: int, batch_size: int) -> int:
        """The most records for which an epoch has no step, because the next takes more."""
        left = []
        for _, shapes in self.phases:
            sizes = [batch_size * shape.batch_factor for shape in shapes]
            left.append(num_records - records_before(count_steps(num_records, sizes), sizes))
        return max(left)

    def in_words(self) -> str:
        """The phases, for a person: what the steps of their epochs are in turn."""
        words, first = [], 1
        for end, shapes in self.phases:
            batches = ", ".join(
                f"{factor}B x {num_frames} frames x {crop_size} px"
                for factor, num_frames, crop_size in shapes
            )
            words.append(f"epochs {first}-{end}: {batches}")
            first = end + 1
        return "; ".join(words)

    def _shapes(self, time: float, side: float) -> tuple[StepShape, ...]:
        """The short cycle, if there is one, and the shape of a phase of these shares of T and S."""
        num_frames = min(self.num_frames, max(MIN_FRAMES, round(self.num_frames * time)))
        sides = (*SHORT_CYCLE, side) if self.short_cycle else (side,)
        return tuple(
            StepShape(
                round(self.num_frames / (num_frames * side * side)),
                num_frames,
                round_crop(self.crop_size * side) if side < 1 else self.crop_size,
            )
            for side in sides
        )


def demand_model(grid: Multigrid, *, takes: Callable[[int, int], bool], legal: str, name: str) -> None:
    """Raises UserError unless the model takes every shape of the training; warns of phases without an epoch.

    `takes` answers for a number of frames and a crop size, `legal` is the same in words.
    """
    if not grid.has_cycle:
        return
    for shape in grid.all_shapes():
        if not takes(shape.num_frames, shape.crop_size):
            raise UserError(
                f"MULTIGRID.{'LONG' if grid.long_cycle else 'SHORT'}_CYCLE True makes clips of "
                f"{shape.num_frames} frames, {shape.crop_size} pixels a side; {name} takes {legal}. "
                "Leave the cycle out, set larger clips, or use a backbone that takes any size, such as vast."
            )
    if missing := grid.num_planned_phases - len(grid.phases):
        logger.warning(
            "MULTIGRID.LONG_CYCLE: %d of %d phases get no epoch, as there are only %d epochs; raise "
            "SOLVER.MAX_EPOCH",
            missing,
            grid.num_planned_phases,
            grid.num_epochs,
        )


def round_crop(side: float) -> int:
    """The multiple of CROP_MULTIPLE that is nearest, at least one."""
    return max(1, round(side / CROP_MULTIPLE)) * CROP_MULTIPLE


def phase_lengths(batches: Sequence[float], cycle_ends: Sequence[float]) -> list[float]:
    """Shares of the training of every phase: one for each of `batches` in every cycle, and fine-tuning.

    `batches` are the mean batches of the shapes of a cycle, over B. Every shape of a cycle gets the same
    number of steps, so the longer share of epochs the larger its batch. Fine-tuning at the last shape gets as
    many steps, beside those of the cycles, as it has in a plain training (PySlowFast's schedule, with its
    steps of the learning rate as `cycle_ends`, shares of the training).
    """
    lengths, steps, start = [], 0.0, 0.0
    for end in cycle_ends:
        lengths += [(end - start) * batch / sum(batches) for batch in batches]
        steps += (end - start) * len(batches) / sum(batches)
        start = end
    lengths.append((1 - start) * steps / start * batches[-1])
    return [length / sum(lengths) for length in lengths]


def records_before(step: int, batch_sizes: Sequence[int]) -> int:
    """Records in the steps before one, whose sizes are `batch_sizes` in turn."""
    rounds, rest = divmod(step, len(batch_sizes))
    return rounds * sum(batch_sizes) + sum(batch_sizes[:rest])


def count_steps(num_records: int, batch_sizes: Sequence[int]) -> int:
    """Steps, of `batch_sizes` in turn, up to the first for which there are too few records."""
    rounds, left = divmod(num_records, sum(batch_sizes))
    step = rounds * len(batch_sizes)
    while batch_sizes[step % len(batch_sizes)] <= left:
        left -= batch_sizes[step % len(batch_sizes)]
        step += 1
    return step
