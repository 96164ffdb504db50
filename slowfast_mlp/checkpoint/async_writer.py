"""Files written while training goes on."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class AsyncWriter:
    """Does one job after the other in a thread. What a job raises comes out at the next call."""

    def __init__(self):
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._job: Future | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the job has ended in an error, which `wait` raises."""
        return self._job is not None and self._job.done() and self._job.exception() is not None

    def submit(self, job: Callable[[], None]) -> None:
        """Starts a job as soon as the one before has ended."""
        self.wait()
        self._job = self._thread.submit(job)

    def wait(self) -> None:
        """Returns when nothing is left to do."""
        job, self._job = self._job, None
        if job is not None:
            job.result()
