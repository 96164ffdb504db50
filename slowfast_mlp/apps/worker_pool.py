"""Jobs over worker processes of which any one may hang or crash without taking the others along.

An executor of the standard library cannot end one worker, and breaks with the first that dies; files that
make FFmpeg hang or crash are what these jobs look for.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from slowfast_mlp.errors import UserError

KILL_TIMEOUT_SEC = 5.0  # a killed process that waits for a network disk may not go at all


class JobFailure(NamedTuple):
    """What stands in for the result of a job whose process hung or died; `kind` is "hung" or "crashed"."""

    kind: str
    reason: str


class _Ready(NamedTuple):
    """A worker's first message: it has imported everything, and its next job may be timed."""


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    connection: Connection
    job: int | None = None
    deadline: float = float("inf")


def run_jobs(
    function: Callable[[Any], Any], jobs: Sequence[Any], *, num_processes: int, timeout_sec: float
) -> Iterator[tuple[int, Any]]:
    """Pairs (position in `jobs`, function(job)), in the order in which they get done.

    A job that takes longer than `timeout_sec`, or whose process dies, gives a JobFailure, and another process
    takes its place. A UserError of `function` is raised here; any other exception ends its process, with a
    traceback. `function` and the jobs must be picklable.
    """
    context = _context(function)
    positions = iter(range(len(jobs)))
    workers = [_start(context, function) for _ in range(min(num_processes, len(jobs)))]
    num_done = 0
    try:
        while num_done < len(jobs):
            wait_sec = max(0.0, min(worker.deadline for worker in workers) - time.monotonic())
            ready = wait([w.connection for w in workers], None if wait_sec == float("inf") else wait_sec)
            for index, worker in enumerate(workers):
                if worker.connection in ready:
                    job, result = worker.job, _receive(worker)
                elif time.monotonic() > worker.deadline:
                    job, result = worker.job, JobFailure("hung", f"no result after {timeout_sec:g} s")
                else:
                    continue
                if isinstance(result, UserError):
                    raise result
                if isinstance(result, JobFailure):
                    _kill(worker)
                    if job is None:
                        raise RuntimeError(f"a worker could not start: {result.reason}")
                    workers[index] = worker = _start(context, function)
                else:
                    _send_next(worker, positions, jobs, timeout_sec)
                if job is not None:
                    num_done += 1
                    yield job, result
    finally:
        for worker in workers:
            _kill(worker)


def default_num_processes() -> int:
    """One process for each core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _context(function: Callable[[Any], Any]) -> multiprocessing.context.BaseContext:
    """Forks of a process that holds no pipe of ours: a worker sees at once that its parent is gone."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([getattr(function, "func", function).__module__])
    return context


def _start(context: multiprocessing.context.BaseContext, function: Callable[[Any], Any]) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_worker_loop, args=(theirs, function), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _worker_loop(connection: Connection, function: Callable[[Any], Any]) -> None:
    """The life of a worker: job after job, until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    connection.send(_Ready())
    while True:
        try:
            job = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            result = function(job)
        except UserError as error:  # the same for every job: for the parent to raise
            result = error
        connection.send(result)


def _receive(worker: _Worker) -> Any:
    try:
        return worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join(KILL_TIMEOUT_SEC)
        code = worker.process.exitcode
        if code is not None and code < 0:
            return JobFailure("crashed", f"the process ended by {signal.Signals(-code).name}")
        return JobFailure(
            "crashed", f"the process ended with exit code {code}; a traceback stands in the error output"
        )


def _send_next(worker: _Worker, positions: Iterator[int], jobs: Sequence[Any], timeout_sec: float) -> None:
    worker.job, worker.deadline = next(positions, None), float("inf")
    if worker.job is not None:
        worker.connection.send(jobs[worker.job])
        worker.deadline = time.monotonic() + timeout_sec


def _kill(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join(KILL_TIMEOUT_SEC)
    worker.connection.close()
