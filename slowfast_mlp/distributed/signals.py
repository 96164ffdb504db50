"""Signals that ask a run to stop: from a scheduler before it reclaims a machine, and Ctrl-C."""

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
    """Handles the first signal to stop, and exits at once on the second.

    Inside `deferred` the first is stored in `received`, and the training loop acts on it at its next step;
    elsewhere nothing needs saving, and it raises Stopped. The handlers are installed inside the `with` block,
    in the main thread only.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._is_deferred = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defers a signal to the loop; one that the loop has not acted on raises Stopped at the end."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        if self.received:
            raise Stopped(f"stopped by {self.received.name}")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)  # any other exit would wait for the thread that writes a checkpoint
        self.received = signal.Signals(number)
        if not self._is_deferred:
            raise Stopped(f"stopped by {self.received.name}")
        # Not with logging, which the signal may have interrupted.
        os.write(2, f"{self.received.name}: saving after this step; a second signal stops at once\n".encode())


@contextmanager
def forward_signals(pids: Sequence[int], received: list[int]) -> Iterator[None]:
    """Forwards signals to stop to these processes and adds them to `received`; this one goes on."""

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
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
