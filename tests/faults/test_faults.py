"""Faults of machines: after each, the same command goes on, and ends with the weights of the unbroken run."""

import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest

from slowfast_mlp.checkpoint import checkpoint
from tests.faults.conftest import losses
from tests.faults.running import (
    NUM_STEPS,
    RUN_NET,
    children,
    finish,
    start,
    steps_done,
    wait_until,
    words_of,
)
from tests.test_run import assert_equal, weights

SLOW_DISK = ["-m", "tests.faults.slow_disk"]


def kill(process):
    """The run and all of its processes, at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def demand_that_it_goes_on(folder, words, unbroken):
    status, _, error = finish(start(RUN_NET, words))
    assert status == 0, error
    assert_equal(weights(folder / "out", 4), unbroken[0])
    assert losses(folder) == unbroken[1]


def test_a_kill_at_a_step_and_one_inside_a_save(tmp_path, corpus, unbroken):
    words = words_of(tmp_path, corpus)
    process = start([*SLOW_DISK, "3", "0.6"], words)
    wait_until_the_disk_hangs(process)
    assert list((tmp_path / "out" / "checkpoints").glob(".checkpoint_epoch_00001_step_00003.pyth.*.part"))
    kill(process)
    newest = checkpoint.newest(str(tmp_path / "out"))
    assert newest.endswith("checkpoint_epoch_00001_step_00002.pyth")
    process = start(RUN_NET, words)
    wait_until(lambda: steps_done(tmp_path) >= 9, process)
    kill(process)
    demand_that_it_goes_on(tmp_path, words, unbroken)
    assert not list((tmp_path / "out" / "checkpoints").glob("*.part"))


def test_a_full_disk_stops_the_run_and_leaves_the_checkpoint_before(tmp_path, corpus, unbroken):
    words = words_of(tmp_path, corpus) + ["DATA_LOADER.NUM_WORKERS", "0"]
    process = start(RUN_NET, words)
    wait_until(lambda: steps_done(tmp_path) >= 2, process)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    status, _, error = finish(process)
    assert status == 1
    where = tmp_path / "out" / "checkpoints"
    assert f"error: {where}/checkpoint_epoch_" in error and "cannot be written (" in error
    newest = checkpoint.newest(str(tmp_path / "out"))
    assert f"Training has stopped; the same command goes on from {newest}." in error
    checkpoint.read(newest)
    demand_that_it_goes_on(tmp_path, words, unbroken)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_data_folder_that_vanishes_stops_the_run(tmp_path, corpus, unbroken):
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    words = words_of(tmp_path, data)
    process = start(RUN_NET, words)
    wait_until(lambda: steps_done(tmp_path) >= 2, process)
    data.rename(tmp_path / "away")
    status, _, error = finish(process)
    assert status == 1 and "Traceback" not in error
    assert "videos in a row cannot be decoded" in error or "could not be decoded in epoch" in error
    (tmp_path / "away").rename(data)
    demand_that_it_goes_on(tmp_path, words, unbroken)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_that_dies_stops_the_run(tmp_path, corpus, unbroken):
    words = words_of(tmp_path, corpus)
    process = start(RUN_NET, words)
    wait_until(lambda: steps_done(tmp_path) >= 2, process)
    for pid in children(process):
        if b"run_net" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    status, _, error = finish(process)
    assert status == 1 and "killed by signal: Killed" in error
    demand_that_it_goes_on(tmp_path, words, unbroken)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_rank_that_dies_stops_all(tmp_path, corpus):
    words, program = words_of(tmp_path, corpus), ["-m", "tests.faults.two_processes"]
    whole = tmp_path / "whole"
    whole.mkdir()
    assert finish(start(program, words_of(whole, corpus)))[0] == 0
    process = start(program, words)
    wait_until(lambda: steps_done(tmp_path) >= 3, process)
    ranks = [pid for pid in children(process) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(ranks[1], signal.SIGKILL)
    status, _, error = finish(process)
    assert status == 1 and "SIGKILL" in error
    assert finish(start(program, words))[0] == 0
    assert_equal(weights(tmp_path / "out", 4), weights(whole / "out", 4))
    assert losses(tmp_path) == losses(whole)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0])
def test_twenty_kills_at_random_points_leave_the_unbroken_run(tmp_path, corpus, unbroken, seed):
    """One run that is killed twenty times; every fourth kill is inside a save, the others fall anywhere,
    the start included.
    """
    draw, words = random.Random(seed), words_of(tmp_path, corpus)
    num_kills = 0
    while num_kills < 20:
        in_save = num_kills % 4 == 3
        program = [*SLOW_DISK, str(draw.randint(1, 2)), str(draw.random())] if in_save else RUN_NET
        process = start(program, words)
        if in_save:
            wait_until_the_disk_hangs(process)
        else:
            goal = min(steps_done(tmp_path) + draw.randint(0, 2), NUM_STEPS)
            wait_until(lambda goal=goal: steps_done(tmp_path) >= goal, process)
            time.sleep(draw.random())
        if process.poll() is None:
            kill(process)
            num_kills += 1
            continue
        # It came to its end first: begin again.
        assert process.returncode == 0, process.communicate()[1]
        shutil.rmtree(tmp_path / "out")
    demand_that_it_goes_on(tmp_path, words, unbroken)


def wait_until_the_disk_hangs(process):
    """Or until the run has ended."""
    for line in process.stdout:
        if line.strip() == "the disk hangs":
            return
    process.wait()
