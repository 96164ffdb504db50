"""The learning rate as a table of numbers."""

import math

import pytest

from slowfast_mlp.engine.schedule import WarmupCosine


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.1), (1, 0.55), (2, 1.0), (4, 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi / 4))), (6, 0.6), (10, 0.2)],
)
def test_warm_up_is_linear_and_then_comes_half_a_cosine(epoch, expected):
    schedule = WarmupCosine(base_lr=1.0, start_lr=0.1, end_lr=0.2, warmup_epochs=2, max_epoch=10)
    assert schedule(epoch) == pytest.approx(expected)


def test_no_warm_up_starts_at_the_base():
    assert WarmupCosine(base_lr=1.0, start_lr=0.1, end_lr=0.0, warmup_epochs=0, max_epoch=4)(0) == 1.0


def test_a_run_shorter_than_its_warm_up_stays_on_the_line():
    schedule = WarmupCosine(base_lr=1.0, start_lr=0.0, end_lr=0.0, warmup_epochs=10, max_epoch=2)
    assert [schedule(epoch) for epoch in (0, 1, 2)] == pytest.approx([0, 0.1, 0.2])


def test_a_cosine_that_begins_with_the_training_is_met_by_the_warm_up():
    schedule = WarmupCosine(
        base_lr=1.0, start_lr=0.1, end_lr=0.2, warmup_epochs=2, max_epoch=6, cosine_after_warmup=False
    )
    assert [schedule(epoch) for epoch in (0, 1, 2, 3, 6)] == pytest.approx([0.1, 0.45, 0.8, 0.6, 0.2])


def test_the_last_epochs_of_a_cooldown_stay_at_the_end_of_the_cosine():
    schedule = WarmupCosine(
        base_lr=1.0, start_lr=0.1, end_lr=0.2, warmup_epochs=2, max_epoch=10, cooldown_epochs=4
    )
    assert [schedule(epoch) for epoch in (2, 4, 6, 8, 10)] == pytest.approx([1.0, 0.6, 0.2, 0.2, 0.2])
