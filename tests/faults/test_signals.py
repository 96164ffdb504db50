"""Signals: the step is finished, everything saved, and the status says that the run wants to go on."""

import os
import shlex
import signal

import pytest

from tests.faults.conftest import losses
from tests.faults.running import NUM_STEPS, RUN_NET, finish, start, steps_done, wait_until, words_of
from tests.test_run import assert_equal, weights


def test_every_signal_saves_and_the_same_command_goes_on_bit_for_bit(tmp_path, corpus, unbroken):
    words = words_of(tmp_path, corpus) + ["TRAIN.CHECKPOINT_PERIOD_STEPS", "None"]
    for number, first_step in ((signal.SIGUSR1, 2), (signal.SIGINT, 7), (signal.SIGTERM, 11)):
        process = start(RUN_NET, words)
        wait_until(lambda step=first_step: steps_done(tmp_path) >= step, process)
        # To the workers too, as SLURM and terminals do.
        os.killpg(process.pid, number)
        status, _, error = finish(process)
        assert status == 75, error
        assert f"stopped by {number.name} after epoch " in error
        assert shlex.join(words) in error and "The same command goes on: " in error
        assert "Traceback" not in error
    process = start(RUN_NET, words)
    status, printed, error = finish(process)
    assert status == 0, error
    assert "resumed from " in printed
    assert_equal(weights(tmp_path / "out", 4), unbroken[0])
    assert losses(tmp_path) == unbroken[1] and len(unbroken[1]) == NUM_STEPS


def test_a_second_signal_stops_at_once(tmp_path, corpus):
    process = start(RUN_NET, words_of(tmp_path, corpus))
    wait_until(lambda: steps_done(tmp_path) >= 1, process)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGUSR1)
    status, _, error = finish(process)
    assert status in (128 + signal.SIGTERM, 128 + signal.SIGUSR1)
    assert "The same command" not in error


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_to_the_starting_process_stops_all_ranks_together(tmp_path, corpus, number):
    program = ["-m", "tests.faults.two_processes"]
    words = words_of(tmp_path, corpus) + ["TRAIN.CHECKPOINT_PERIOD_STEPS", "None"]
    process = start(program, words)
    wait_until(lambda: steps_done(tmp_path) >= 2, process)
    process.send_signal(number)
    status, _, error = finish(process)
    assert status == 75, error
    assert f"stopped by {number.name} after epoch" in error
    saved = error.split("; saved ")[1].split("\n")[0]
    assert os.path.exists(saved)
