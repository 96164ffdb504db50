"""Steps skipped because the loss or a gradient was not finite: listed, with a limit in a row."""

import json
import logging
import math
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from slowfast_mlp.atomic_file import explain_write_errors
from slowfast_mlp.distributed.process_group import gather_objects, rank
from slowfast_mlp.log.metrics_file import keep_lines

SKIPPED_STEPS = "skipped_steps.jsonl"

logger = logging.getLogger(__name__)


class SkippedSteps:
    """Counts skipped steps on the device, so that no step waits, and writes them to a list on `flush`.

    `excess` becomes an error message after `max_in_a_row` skipped steps in a row, or as many as an epoch has;
    the weights are then those before the first of them. `path_of` returns the file of a record; `seed` is
    RNG_SEED.
    """

    def __init__(
        self,
        output_dir: str,
        *,
        max_in_a_row: int,
        seed: int,
        path_of: Callable[[int], str],
        device: torch.device,
    ):
        self.path = os.path.join(output_dir, SKIPPED_STEPS)
        self.max_in_a_row = max_in_a_row
        self.seed = seed
        self.path_of = path_of
        self.excess: str | None = None
        self._in_a_row = torch.zeros((), device=device)
        self._window: list[tuple[int, float, Tensor, Tensor]] = []

    def add(self, step: int, records: Tensor, skipped: Tensor, *, lr: float) -> None:
        """Adds a step of this rank: its records [B], on the host, and whether it was skipped []."""
        self._in_a_row = (self._in_a_row + 1) * skipped
        self._window.append((step, lr, records, self._in_a_row))

    def flush(self, *, epoch: int, num_steps: int) -> None:
        """Waits for the device, writes the steps skipped since the last call to the list, and sets `excess`.

        All ranks must call this; the epoch has `num_steps`.
        """
        window, self._window = self._window, []
        in_a_row = torch.stack([count for *_, count in window]).tolist() if window else []
        skipped = [(step, records) for (step, _, records, _), count in zip(window, in_a_row) if count > 0]
        if not skipped:
            return
        self._write(epoch, skipped)
        if max(in_a_row) >= min(self.max_in_a_row, num_steps):
            self.excess = (
                f"The loss or its gradient was not finite in {max(in_a_row):.0f} steps in a row, up to step "
                f"{skipped[-1][0] + 1} of epoch {epoch + 1}, at a learning rate of {window[-1][1]:.3g}; "
                f"SOLVER.MAX_NONFINITE_STEPS is {self.max_in_a_row}, and an epoch has {num_steps}. Lower "
                "SOLVER.BASE_LR, set SOLVER.CLIP_GRAD_L2NORM, or try TRAIN.PRECISION fp32. The videos of "
                f"these steps are in {self.path}."
            )

    def clear(self) -> None:
        """Forgets the steps since the last flush, none of which was skipped."""
        self._window.clear()

    def state_dict(self) -> dict[str, int]:
        """The number of steps skipped in a row until now, equal on every rank; waits for the device."""
        return {"in_a_row": int(self._in_a_row)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues counting from a saved state."""
        self._in_a_row.fill_(state["in_a_row"])

    def rewind(self, *, epoch: int, step: int) -> None:
        """Drops listed steps beyond `epoch` whole epochs and `step` steps of the next: a resumed run trains
        them again. For rank 0.
        """
        if os.path.exists(self.path):
            keep_lines(self.path, lambda line: _position(line) <= (epoch + 1, step))

    def _write(self, epoch: int, skipped: list[tuple[int, Tensor]]) -> None:
        """Appends a line for every step and rank; seed, epoch and record determine all random draws."""
        own = [self._line(epoch, step, records.tolist()) for step, records in skipped]
        lines = [line for share in gather_objects(own) for line in share]
        logger.warning(
            f"epoch {epoch + 1}: {len(skipped)} steps were skipped because loss or gradient was not finite, "
            f"the last of them step {skipped[-1][0] + 1}; their videos are in {self.path}"
        )
        if rank() == 0:
            with explain_write_errors(self.path), open(self.path, "a", encoding="utf-8") as file:
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


def _position(line: str) -> tuple[float, float]:
    """Epoch and step of a line of the list, both from 1; infinite for a line that a kill cut off."""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return math.inf, math.inf
    return entry["epoch"], entry["step"]
