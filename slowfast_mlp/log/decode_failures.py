"""Videos that training could not decode: counted per file, written to a list, with a limit."""

import logging
import os
from collections.abc import Iterable
from typing import Any

from slowfast_mlp.atomic_file import write_file
from slowfast_mlp.distributed.process_group import gather_objects, rank
from slowfast_mlp.errors import UserError

FAILED_TRAIN_VIDEOS = "failed_train_videos.txt"
MAX_NAMED = 3  # in the log as they occur, and in the error

logger = logging.getLogger(__name__)


class FailedVideos:
    """Counts how often each video failed since training started; its length is the number of such files.

    `max_fraction` is the fraction of an epoch's clips above which `check_failed_fraction` stops the run.
    """

    def __init__(self, output_dir: str, *, max_fraction: float):
        self.path = os.path.join(output_dir, FAILED_TRAIN_VIDEOS)
        self.max_fraction = max_fraction
        self._own: dict[str, int] = {}  # times that this rank failed to decode a file
        self._reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, failures: Iterable[Any]) -> None:
        """Adds the failures in a batch of this rank."""
        for failure in failures:
            self._own[failure.path] = self._own.get(failure.path, 0) + 1
            self._name(failure.path, failure.reason)

    def _name(self, path: str, reason: str) -> None:
        if path not in self._reasons and len(self._reasons) < MAX_NAMED:
            logger.warning("replaced a video that cannot be decoded: %s: %s", path, reason)
        self._reasons[path] = reason

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """The failures of this rank, as plain values."""
        return {"times": dict(self._own), "reasons": {path: self._reasons[path] for path in self._own}}

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """Continues counting from a saved state."""
        self._own, self._reasons = dict(state["times"]), dict(state["reasons"])

    def gather(self) -> dict[str, int]:
        """Returns how often each file failed over all ranks, which must all call this, and writes the list:
        path, times, reason, separated by tabs, as DATA.SKIP_LIST reads it.
        """
        times: dict[str, int] = {}
        for counts, reasons in gather_objects((self._own, self._reasons)):
            for path, count in counts.items():
                times[path] = times.get(path, 0) + count
                self._name(path, reasons[path])
        if times and rank() == 0:
            lines = [f"{path}\t{times[path]} times\t{self._reasons[path]}\n" for path in sorted(times)]
            write_file(self.path, "".join(lines).encode())
        return times

    def check_failed_fraction(self, *, num_failed: float, num_clips: float, epoch: int) -> None:
        """Raises UserError on all ranks if too many of the `num_clips` of epoch index `epoch` failed.

        The counts are over all ranks. A clip may fail several times, since its replacement may fail too.
        """
        if num_failed <= self.max_fraction * num_clips:
            return
        times = self.gather()
        worst = sorted(times, key=lambda path: (-times[path], path))[:MAX_NAMED]
        examples = "; ".join(f"{path}: {self._reasons[path]}" for path in worst)
        raise UserError(
            f"{num_failed:.0f} clips could not be decoded in epoch {epoch + 1}, which has {num_clips:.0f}: "
            f"more than DATA.MAX_FAILED_FRACTION {self.max_fraction}. {examples}. All are in {self.path}: "
            "mend them, or leave them out with DATA.SKIP_LIST."
        )
