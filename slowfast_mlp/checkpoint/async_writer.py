"""Writes files in the background."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class AsyncWriter:
    """Runs one job at a time in a thread. The next call raises the error of a job."""

    def __init__(self):
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._job: Future | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the job has failed; `wait` raises its error."""
        return self._job is not None and self._job.done() and self._job.exception() is not None

    def submit(self, job: Callable[[], None]) -> None:
        """Starts a job once the previous one has ended."""
        self.wait()
        self._job = self._thread.submit(job)

    def wait(self) -> None:
        """Waits for the job and raises its error."""
        job, self._job = self._job, None
        if job is not None:
            job.result()
