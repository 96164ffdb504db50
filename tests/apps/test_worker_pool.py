"""Jobs over processes: what hangs or crashes is given up and named, and costs the others nothing."""

import os
import signal
import time

import pytest

from slowfast_mlp.apps.worker_pool import JobFailure, run_jobs
from slowfast_mlp.errors import UserError


def work(job):
    kind, value = job
    if kind == "open":
        with open(value) as file:  # a pipe that nobody writes to: waits for ever, inside the system
            return file.read()
    if kind == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "refuse":
        raise UserError(f"{value} cannot be used")
    if kind == "raise":
        raise KeyError(value)
    return value * 2


def test_every_job_gives_its_result_once():
    results = dict(run_jobs(work, [("double", n) for n in range(20)], num_processes=2, timeout_sec=60))
    assert results == {n: 2 * n for n in range(20)}


def test_no_jobs_give_no_results():
    assert list(run_jobs(work, [], num_processes=2, timeout_sec=60)) == []


def test_a_job_that_hangs_or_crashes_is_given_up_and_the_others_get_done(tmp_path):
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    jobs = [("double", 1), ("open", str(pipe)), ("die", 0), ("raise", "x"), ("double", 4), ("double", 5)]
    results = dict(run_jobs(work, jobs, num_processes=1, timeout_sec=1))
    assert results == {
        0: 2,
        1: JobFailure("hung", "no result after 1 s"),
        2: JobFailure("crashed", "the process ended by SIGSEGV"),
        3: JobFailure(
            "crashed", "the process ended with exit code 1; a traceback stands in the error output"
        ),
        4: 8,
        5: 10,
    }


def test_workers_end_with_the_one_who_asks(tmp_path):
    pids = []
    for _, pid in run_jobs(own_pid, [0, 1, 2, 3], num_processes=2, timeout_sec=60):
        pids.append(pid)
        if len(pids) == 2:
            break
    deadline = time.monotonic() + 30
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_alive(pid) for pid in pids)


def own_pid(_):
    return os.getpid()


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("num_processes", [1, 3])
def test_results_come_when_they_are_done(num_processes):
    order = [n for n, _ in run_jobs(work, [("double", 0)] * 5, num_processes=num_processes, timeout_sec=60)]
    assert sorted(order) == [0, 1, 2, 3, 4]


def test_a_mistake_of_the_users_is_raised_where_the_results_come():
    with pytest.raises(UserError, match="the setting cannot be used"):
        list(run_jobs(work, [("refuse", "the setting")], num_processes=1, timeout_sec=60))
