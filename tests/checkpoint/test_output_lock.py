"""Two runs in one OUTPUT_DIR: refused, or taken over from one that is certainly gone."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from slowfast_mlp.checkpoint import output_lock
from slowfast_mlp.checkpoint.output_lock import OutputLock, Owner
from slowfast_mlp.errors import UserError
from tests.conftest import ROOT

HOLD = "import sys, time; from slowfast_mlp.checkpoint.output_lock import OutputLock\n" + (
    "lock = OutputLock(sys.argv[1]); print('held', flush=True); time.sleep(100)"
)


def leave_lock(folder, *, silent_sec=0.0, **changed):
    """A lock file in `folder` of an owner that differs so from this process."""
    owner = dataclasses.replace(Owner.here({}), **changed)
    path = folder / "run.lock"
    path.write_text(json.dumps(dataclasses.asdict(owner)))
    then = path.stat().st_mtime - silent_sec
    os.utime(path, (then, then))


@pytest.fixture
def other_process(tmp_path):
    """A process that holds the lock of tmp_path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_lock_is_there_while_the_run_is_and_goes_with_it(tmp_path):
    with OutputLock(str(tmp_path / "new" / "out")) as lock:
        assert [path.name for path in lock.path.parent.iterdir()] == ["run.lock"]
    assert list((tmp_path / "new" / "out").iterdir()) == []


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path, other_process):
    with pytest.raises(UserError, match=rf"in use by a run on .* \(process {other_process.pid}\).* choose"):
        OutputLock(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path, other_process):
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    with OutputLock(str(tmp_path)):
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()


def test_a_later_process_of_the_same_number_is_not_taken_for_the_owner(tmp_path):
    leave_lock(tmp_path, started="1")
    OutputLock(str(tmp_path)).release()


@pytest.mark.parametrize("elsewhere", [{"host": "n7"}, {"pid_space": "pid:[1] other"}])
def test_an_owner_elsewhere_is_believed_alive_until_its_heartbeat_is_old(tmp_path, elsewhere):
    leave_lock(tmp_path, silent_sec=100, **elsewhere)
    with pytest.raises(UserError, match="last heard of 100 s ago"):
        OutputLock(str(tmp_path))
    leave_lock(tmp_path, silent_sec=130, **elsewhere)
    OutputLock(str(tmp_path)).release()


def test_a_requeued_job_takes_over_at_once_but_a_second_step_of_a_job_does_not(tmp_path):
    job = {"SLURM_JOB_ID": "17", "SLURM_RESTART_COUNT": "1"}
    leave_lock(tmp_path, host="n7", job_id="17", restarts=1)
    with pytest.raises(UserError, match="SLURM job 17"):
        OutputLock(str(tmp_path), environment=job)
    leave_lock(tmp_path, host="n7", job_id="18", restarts=0)
    with pytest.raises(UserError, match="SLURM job 18"):
        OutputLock(str(tmp_path), environment=job)
    leave_lock(tmp_path, host="n7", job_id="17", restarts=0)
    OutputLock(str(tmp_path), environment=job).release()


def test_a_lock_that_nobody_has_finished_writing_is_respected_while_it_is_new(tmp_path):
    lock = tmp_path / "run.lock"
    lock.write_text("")
    with pytest.raises(UserError, match="has not written its name"):
        OutputLock(str(tmp_path))
    os.utime(lock, (0, 0))
    OutputLock(str(tmp_path)).release()


@pytest.mark.parametrize("attempt", range(25))
def test_of_many_that_start_at_once_over_a_dead_owners_lock_one_gets_it(tmp_path, attempt):
    leave_lock(tmp_path, started="1")
    barrier, held, refused = threading.Barrier(8), [], []

    def start():
        barrier.wait()
        try:
            held.append(OutputLock(str(tmp_path)))
        except UserError as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 7)
    held[0].release()
    assert list(tmp_path.iterdir()) == []


def test_a_guard_that_a_killed_run_left_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(output_lock, "GUARD_SEC", 0.1)
    guard = tmp_path / "run.lock.guard"
    guard.touch()
    with pytest.raises(UserError, match=f"If there is no other run, delete {guard}"):
        OutputLock(str(tmp_path))
    guard.unlink()
    OutputLock(str(tmp_path)).release()
    assert list(tmp_path.iterdir()) == []


def test_the_heartbeat_keeps_the_file_young(tmp_path, monkeypatch):
    monkeypatch.setattr(output_lock, "HEARTBEAT_SEC", 0.05)
    with OutputLock(str(tmp_path)) as lock:
        os.utime(lock.path, (0, 0))
        ticks = threading.Event()
        while lock.path.stat().st_mtime == 0:
            ticks.wait(0.02)
        assert lock.path.stat().st_mtime > 0


def test_a_run_that_lost_its_lock_ends_without_touching_the_new_owners(tmp_path):
    code = HOLD.replace(
        "lock = ", "from slowfast_mlp.checkpoint import output_lock as o; o.HEARTBEAT_SEC = .1; "
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout.readline() == "held\n"
    leave_lock(tmp_path)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert errors.startswith(f"{tmp_path}/run.lock is no longer this run's: it or its folder was deleted")
    assert f"Once no other run is in {tmp_path}" in errors and "the same command goes on" in errors
    assert (tmp_path / "run.lock").exists()
