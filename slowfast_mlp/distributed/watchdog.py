"""Watchdog: finds a run that hangs, and reports which rank waited for which.

The training loop only notes its position in memory. A thread publishes it in the store of the ranks, and the
others read it there when nothing has moved for too long. No step and no device waits for it.
"""

import faulthandler
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tabulate import tabulate

from slowfast_mlp.distributed.rendezvous import LINGER_SEC, STORE_ERRORS, Store, first_failure
from slowfast_mlp.errors import first_line

# The exit status of a process that the watchdog ends.
HANG_STATUS = 70
MAX_POLL_SEC = 5.0
# How long rank 0 waits for the reports of the others, in polls.
NUM_POLLS_TO_ANSWER = 4
# How long a rank goes on after another failed: its own error, if there is one, says more.
AFTER_FAILURE_SEC = 10.0
# Marks in the stack of a rank that waits for others: collectives in Python, and DDP's in the backward pass.
EXCHANGES = ("/torch/distributed/", "_engine_run_backward")
MAX_STACKS = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RankReport:
    """The position of a rank, for how long, and its stack; empty if the rank has not answered."""

    rank: int
    host: str
    place: str
    step: int | None
    seconds: float
    stack: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether the rank waits for other ranks, by its stack."""
        return any(mark in frame for frame in self.stack for mark in EXCHANGES)


class WatchedLoader:
    """A loader that notes its batches and steps with the watchdog."""

    def __init__(self, loader: Any, watchdog: "Watchdog", what: str, first_step: int):
        self._loader, self._watchdog = loader, watchdog
        self._what, self._first_step = what, first_step

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        step = self._first_step + 1
        self._watchdog.note(f"waiting for the data of {self._what}", step)
        for batch in self._loader:
            self._watchdog.note(self._what, step)
            yield batch
            step += 1
            self._watchdog.note(f"waiting for the data of {self._what}", step)
        self._watchdog.note(f"after {self._what}")


class Watchdog:
    """Ends this process with HANG_STATUS if a rank has been at one place for `limit_sec` (None: never), or if
    another rank has failed and this one does not end by itself.

    `store` is a connection of its own, None for a single process: two threads that share a store wait for
    each other. Watches between `__enter__` and `__exit__`, from the first note on.
    """

    def __init__(
        self, *, rank: int, world_size: int, host: str, limit_sec: float | None, store: Store | None
    ):
        self.rank, self.world_size, self.host = rank, world_size, host
        self.limit_sec, self._store = limit_sec, store
        self._poll_sec = min(MAX_POLL_SEC, limit_sec / 4) if limit_sec else MAX_POLL_SEC
        self._now: tuple[str, int | None, float] | None = None
        self._watched_thread = threading.get_ident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def note(self, place: str, step: int | None = None) -> None:
        """Notes that this rank is at `place`, at a step (from 1). Costs no more than the call."""
        self._now = (place, step, time.monotonic())

    def watch(self, loader: Any, what: str, *, first_step: int = 0) -> WatchedLoader:
        """Notes the batches of a loader as those of `what`, e.g. "training epoch 3", from `first_step` on."""
        return WatchedLoader(loader, self, what, first_step)

    def __enter__(self) -> "Watchdog":
        self._watched_thread = threading.get_ident()
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while not self._ended.wait(self._poll_sec):
            if self.limit_sec and self._now:
                # This thread does not run while native code holds the GIL or the store does not answer:
                # then faulthandler's C thread prints the stacks and ends the process.
                slack = (NUM_POLLS_TO_ANSWER + 2) * self._poll_sec + LINGER_SEC
                faulthandler.dump_traceback_later(self.limit_sec + slack, exit=True, file=sys.__stderr__)
            try:
                self._look()
            except STORE_ERRORS as error:
                if not self._ended.wait(AFTER_FAILURE_SEC):
                    self._end(f"rank {self.rank} on {self.host} lost rank 0 ({first_line(error)})")

    def _look(self) -> None:
        own = self._report()
        is_stuck = self.limit_sec is not None and own.seconds > self.limit_sec
        if self._store is None:
            if is_stuck:
                self._end(explain([self._report(with_stack=True)], limit_sec=self.limit_sec))
            return
        self._publish(own)
        failure = first_failure(self._store)
        if failure and not self._ended.wait(AFTER_FAILURE_SEC):
            self._end(f"rank {self.rank} on {self.host} ends because {failure}")
        if is_stuck:
            self._store.set("stuck", str(self.rank))
        if is_stuck or self._store.check(["stuck"]):
            self._answer()

    def _report(self, *, with_stack: bool = False) -> RankReport:
        place, step, since = self._now or ("start", None, time.monotonic())
        stack: tuple[str, ...] = ()
        if with_stack and (frame := sys._current_frames().get(self._watched_thread)):
            stack = tuple(traceback.format_stack(frame))
        return RankReport(
            rank=self.rank,
            host=self.host,
            place=place,
            step=step,
            seconds=time.monotonic() - since,
            stack=stack,
        )

    def _publish(self, report: RankReport) -> None:
        self._store.set(f"watch/{report.rank}", json.dumps(asdict(report)))

    def _answer(self) -> None:
        """Publishes the position of this rank and ends it; rank 0 logs the table of all."""
        self._publish(self._report(with_stack=True))
        patience = NUM_POLLS_TO_ANSWER * self._poll_sec
        if self.rank:
            if not self._until(lambda: self._store.check(["told"]), patience + LINGER_SEC):
                own = explain([self._report(with_stack=True)], limit_sec=self.limit_sec)
                self._end(f"{own}\nrank 0 does not answer")
            self._store.add("read", 1)
            os._exit(HANG_STATUS)
        self._until(lambda: all(report.stack for report in self._reports()), patience)
        reports = self._reports()
        text = explain(reports, limit_sec=self.limit_sec)
        logger.error(text)
        self._store.set("told", "")
        others = sum(bool(report.stack) for report in reports) - 1
        self._until(lambda: self._store.add("read", 0) >= others, LINGER_SEC)
        os._exit(HANG_STATUS)

    def _reports(self) -> list[RankReport]:
        reports = []
        for rank in range(self.world_size):
            key = f"watch/{rank}"
            if self._store.check([key]):
                known = json.loads(self._store.get(key))
                reports.append(RankReport(**{**known, "stack": tuple(known["stack"])}))
            else:
                reports.append(RankReport(rank=rank, host="?", place="not heard of", step=None, seconds=0.0))
        return reports

    def _until(self, is_so: Any, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not (done := is_so()) and time.monotonic() < deadline:
            time.sleep(min(0.2, self._poll_sec))
        return done

    def _end(self, text: str) -> None:
        logger.error(text)
        os._exit(HANG_STATUS)


def waited_for(reports: Sequence[RankReport]) -> list[int]:
    """The ranks that the others wait for, as far as known: ranks that do not answer; else ranks outside a
    collective while others are in one; else ranks behind at the same place; else none.
    """
    silent = [report.rank for report in reports if not report.stack]
    busy = [report.rank for report in reports if not report.waits]
    for some in (silent, busy):
        if 0 < len(some) < len(reports):
            return some
    if len({report.place for report in reports}) == 1 and None not in {report.step for report in reports}:
        first = min(report.step for report in reports)
        behind = [report.rank for report in reports if report.step == first]
        return behind if len(behind) < len(reports) else []
    return []


def explain(reports: Sequence[RankReport], *, limit_sec: float | None) -> str:
    """Describes a hang: a line per rank, which rank waited for which, and the stacks that matter."""
    longest = max(report.seconds for report in reports)
    cells = [
        (r.rank, r.host, r.place, str(r.step or "-"), f"{r.seconds:.0f}", _innermost(r)) for r in reports
    ]
    titles = ("rank", "host", "place", "step", "seconds", "at")
    lines = [
        f"the run stands still: {longest:.0f} s at one place, WATCHDOG_SEC is {limit_sec or 0:g}",
        tabulate([titles, *cells], tablefmt="plain", disable_numparse=True),
    ]
    late = waited_for(reports)
    if late:
        waiting = [report.rank for report in reports if report.rank not in late]
        lines.append(f"{_format_ranks(waiting)} waited for {_format_ranks(late)}")
    elif len(reports) > 1:
        lines.append("every rank waited for another: they are in different exchanges, or the network is gone")
    shown = [report for report in reports if report.stack and (not late or report.rank in late)]
    for report in shown[:MAX_STACKS]:
        lines.append(f"stack of rank {report.rank} on {report.host}, the innermost call last:")
        lines.append("".join(report.stack).rstrip())
    return "\n".join(lines)


def _innermost(report: RankReport) -> str:
    """File, line and function of the innermost call, from `  File "PATH", line N, in NAME`."""
    if not report.stack:
        return "does not answer"
    path, line, name = report.stack[-1].splitlines()[0].strip().removeprefix("File ").split(", ")[-3:]
    where = "/".join(path.strip('"').split("/")[-2:])
    return f"{where}:{line.removeprefix('line ')} {name.removeprefix('in ')}"


def _format_ranks(ranks: Sequence[int]) -> str:
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, ranks))
