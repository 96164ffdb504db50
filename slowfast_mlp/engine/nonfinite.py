"""Steps that were skipped because the loss or a gradient was not finite: named, and not too many in a row."""

import json
import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from slowfast_mlp.engine.distributed import gather_objects, rank
from slowfast_mlp.errors import UserError

SKIPPED_STEPS = "skipped_steps.jsonl"

logger = logging.getLogger(__name__)


class SkippedSteps:
    """Counts on the device, so that a step waits for nothing, and names what was skipped when `look`ed at.

    The run ends after `max_in_a_row` skipped steps in a row, or as many as an epoch has. `path_of` gives the
    file of a record, `seed` is RNG_SEED, and `keep_weights` saves the weights, which are those before the
    first of the skipped steps, and returns where.
    """

    def __init__(
        self,
        output_dir: str,
        *,
        max_in_a_row: int,
        seed: int,
        path_of: Callable[[int], str],
        keep_weights: Callable[[], str],
        device: torch.device,
    ):
        self.path = os.path.join(output_dir, SKIPPED_STEPS)
        self.max_in_a_row = max_in_a_row
        self.seed = seed
        self.path_of = path_of
        self.keep_weights = keep_weights
        self._in_a_row = torch.zeros((), device=device)
        self._window: list[tuple[int, Tensor, Tensor]] = []

    def add(self, step: int, records: Tensor, skipped: Tensor) -> None:
        """Takes note of a step of this rank: its records [B], on the host, and whether it was skipped []."""
        self._in_a_row = (self._in_a_row + 1) * skipped
        self._window.append((step, records, self._in_a_row))

    def look(self, *, epoch: int, num_steps: int, lr: float) -> None:
        """Waits for the device; writes what was skipped since the last look to the list.

        All ranks must call this. Raises UserError when too many were skipped; `num_steps` are the epoch's.
        """
        in_a_row = torch.stack([count for *_, count in self._window]).tolist()
        skipped = [(step, records) for (step, records, _), count in zip(self._window, in_a_row) if count > 0]
        self._window.clear()
        if not skipped:
            return
        self._write(epoch, skipped)
        if max(in_a_row) < min(self.max_in_a_row, num_steps):
            return
        weights = self.keep_weights()
        raise UserError(
            f"The loss or its gradient was not finite in {max(in_a_row):.0f} steps in a row, up to step "
            f"{skipped[-1][0] + 1} of epoch {epoch + 1}, at a learning rate of {lr:.3g}; "
            f"SOLVER.MAX_NONFINITE_STEPS is {self.max_in_a_row}, and an epoch has {num_steps}. Lower "
            f"SOLVER.BASE_LR, set SOLVER.CLIP_GRAD_L2NORM, or try TRAIN.PRECISION fp32. The "
            f"videos of these steps are in {self.path}, the weights before them in {weights}."
        )

    def _write(self, epoch: int, skipped: list[tuple[int, Tensor]]) -> None:
        """Appends a line for every step and rank: with the seed, its epoch and a record all draws begin."""
        own = [self._line(epoch, step, records.tolist()) for step, records in skipped]
        lines = [line for share in gather_objects(own) for line in share]
        logger.warning(
            "epoch %d: %d steps were skipped because loss or gradient was not finite, the last of them step "
            "%d; their videos are in %s",
            epoch + 1, len(skipped), skipped[-1][0] + 1, self.path,
        )  # fmt: skip
        if rank() == 0:
            with open(self.path, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)

    def _line(self, epoch: int, step: int, records: list[int]) -> dict[str, Any]:
        return {
            "epoch": epoch + 1,
            "step": step + 1,
            "rank": rank(),
            "rng_seed": self.seed,
            "records": records,
            "videos": [self.path_of(record) for record in records],
        }
