"""Signals that ask a run to stop: what a scheduler sends before it takes a machine away, and Ctrl-C."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from slowfast_mlp.errors import Stopped

# SIGUSR1 is what SLURM is asked to send ahead of time; Windows has none.
STOPPING = tuple(getattr(signal, n) for n in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, n))


class StopSignals:
    """Hears the first signal to stop, and ends the process at once on a second one.

    Inside `deferred` the first is noted in `received`, for the loop to act upon at its next step; elsewhere
    nothing needs to be saved, and it raises Stopped. Handlers are in place inside the `with` block, in a main
    thread.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._is_deferred = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within it, a signal waits for the loop; one that the loop did not come to raises Stopped at the
        end.
        """
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        if self.received:
            raise Stopped(f"stopped by {self.received.name}")

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)  # a thread that writes a checkpoint would hold up every other way out
        self.received = signal.Signals(number)
        if not self._is_deferred:
            raise Stopped(f"stopped by {self.received.name}")
        # Not by logging, which the signal may have interrupted.
        os.write(2, f"{self.received.name}: saving after this step; a second signal stops at once\n".encode())


@contextmanager
def forwarded(pids: Sequence[int], heard: list[int]) -> Iterator[None]:
    """Within it, signals to stop are added to `heard` and go to these processes, and this one goes on waiting
    for them.
    """

    def forward(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, forward) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
