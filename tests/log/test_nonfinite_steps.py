"""Skipped steps: counted in a row over a stop, listed once."""

import json

import pytest
import torch

from slowfast_mlp.errors import UserError
from slowfast_mlp.log.nonfinite_steps import SkippedSteps

CPU = torch.device("cpu")


@pytest.fixture
def make(tmp_path):
    """A function that makes the counter of a run, which two steps in a row end."""
    return lambda: SkippedSteps(str(tmp_path), max_in_a_row=2, seed=3, path_of="{}.mp4".format, device=CPU)


def steps(counter, *skipped, first=0):
    for step, is_skipped in enumerate(skipped, start=first):
        counter.add(step, torch.tensor([10 + step]), torch.tensor(is_skipped), lr=0.5)


def test_steps_in_a_row_are_too_many_and_others_are_not(make):
    counter = make()
    steps(counter, True, False, True)
    counter.flush(epoch=0, num_steps=9)
    assert counter.excess is None
    steps(counter, True, first=3)
    counter.flush(epoch=0, num_steps=9)
    assert (
        "not finite in 2 steps in a row, up to step 4 of epoch 1, at a learning rate of 0.5" in counter.excess
    )


def test_all_steps_of_an_epoch_are_too_many(make):
    counter = make()
    steps(counter, True)
    counter.flush(epoch=4, num_steps=1)
    assert "SOLVER.MAX_NONFINITE_STEPS is 2, and an epoch has 1" in counter.excess


def test_the_count_goes_on_after_a_stop(make):
    before, after = make(), make()
    steps(before, False, True)
    after.load_state_dict(before.state_dict())
    steps(after, True, first=2)
    after.flush(epoch=0, num_steps=9)
    assert "up to step 3" in after.excess
    finite = make()
    finite.load_state_dict(before.state_dict())
    steps(finite, False, True, first=2)
    finite.flush(epoch=0, num_steps=9)
    assert finite.excess is None


def test_a_look_without_steps_writes_nothing(make, tmp_path):
    make().flush(epoch=0, num_steps=9)
    assert list(tmp_path.iterdir()) == []


def test_steps_that_come_again_are_taken_off_the_list(make, tmp_path):
    counter = make()
    for epoch in (0, 1):
        steps(counter, True, False, True)
        counter.flush(epoch=epoch, num_steps=3)
    file = tmp_path / "skipped_steps.jsonl"
    with file.open("a") as cut_off:
        cut_off.write('{"epoch": 1, "st')
    counter.rewind(epoch=1, step=1)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 1), (1, 3), (2, 1)]
    assert lines[2] == dict(epoch=2, step=1, rank=0, rng_seed=3, records=[10], videos=["10.mp4"])


def test_a_list_that_cannot_be_written_is_named(make, tmp_path):
    (tmp_path / "skipped_steps.jsonl").mkdir()
    counter = make()
    steps(counter, True)
    with pytest.raises(
        UserError, match=r"skipped_steps\.jsonl cannot be written \(Is a directory\)\. See to"
    ):
        counter.flush(epoch=0, num_steps=9)
