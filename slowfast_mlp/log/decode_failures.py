"""Videos that training could not decode: counted by file, written to a list, and not too many."""

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
    """How often each video failed since training started; its length is the number of files known to fail.

    `max_fraction` is the share of an epoch's clips above which `check_failed_fraction` stops the run.
    """

    def __init__(self, output_dir: str, *, max_fraction: float):
        self.path = os.path.join(output_dir, FAILED_TRAIN_VIDEOS)
        self.max_fraction = max_fraction
        self._own: dict[str, int] = {}  # times that this rank failed to decode a file
        self._reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, failures: Iterable[Any]) -> None:
        """Counts what failed in a batch of this rank."""
        for failure in failures:
            self._own[failure.path] = self._own.get(failure.path, 0) + 1
            self._name(failure.path, failure.reason)

    def _name(self, path: str, reason: str) -> None:
        if path not in self._reasons and len(self._reasons) < MAX_NAMED:
            logger.warning("replaced a video that cannot be decoded: %s: %s", path, reason)
        self._reasons[path] = reason

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """What this rank failed to decode; plain values."""
        return {"times": dict(self._own), "reasons": {path: self._reasons[path] for path in self._own}}

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """Goes on counting from there."""
        self._own, self._reasons = dict(state["times"]), dict(state["reasons"])

    def gather(self) -> dict[str, int]:
        """How often each file failed, over all ranks, which must all call this. Writes it to the list: path,
        times, reason; tabs between, as DATA.SKIP_LIST takes it.
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
        """Raises UserError on all ranks when more clips have failed than may, for the `num_clips` that epoch
        index `epoch` has. The counts are those of all ranks; a clip may fail several times, as what replaces
        it may fail too.
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
