"""Multigrid: which shapes the steps of an epoch have, how long they last, what that costs."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mlp.data.multigrid import (
    Multigrid,
    count_steps,
    demand_model,
    phase_lengths,
    records_before,
    round_crop,
)
from slowfast_mlp.errors import UserError


def grid(long_cycle=True, short_cycle=True, **changes):
    kinetics = dict(epoch_factor=1.5, num_frames=32, crop_size=224, max_epoch=239)
    return Multigrid(long_cycle=long_cycle, short_cycle=short_cycle, **{**kinetics, **changes})


def test_plain_training_has_one_shape_and_its_own_number_of_epochs():
    plain = grid(long_cycle=False, short_cycle=False)
    assert plain.num_epochs == 239
    assert plain.phases == ((239, ((1, None, None),)),)
    assert [plain.lr_factor(epoch) for epoch in (0, 100.5, 238.99)] == [1, 1, 1]


def test_the_long_cycle_has_the_shapes_of_the_paper():
    """(8B, T/4, S/√2), (4B, T/2, S/√2), (2B, T/2, S), (B, T, S); 158 pixels are rounded to 160."""
    cycle = [(8, 8, 160), (4, 16, 160), (2, 16, 224), (1, 32, 224)]
    phases = grid(short_cycle=False).phases
    assert [shapes for _, shapes in phases] == [(shape,) for shape in [*cycle * 3, cycle[-1]]]


def test_the_short_cycle_shrinks_the_crop_of_two_of_three_steps_and_fills_the_batch():
    only_short = grid(long_cycle=False)
    assert only_short.phases == ((358, ((4, 32, 112), (2, 32, 160), (1, 32, 224))),)
    assert [shapes for _, shapes in grid().phases[:4]] == [
        ((16, 8, 112), (8, 8, 160), (8, 8, 160)),
        ((8, 16, 112), (4, 16, 160), (4, 16, 160)),
        ((8, 16, 112), (4, 16, 160), (2, 16, 224)),
        ((4, 32, 112), (2, 32, 160), (1, 32, 224)),
    ]


@pytest.mark.parametrize(
    ("short_cycle", "ends"),
    [
        (True, [73, 110, 142, 158, 205, 228, 248, 259, 291, 308, 322, 329, 358]),
        (False, [87, 130, 152, 162, 218, 245, 259, 266, 305, 324, 334, 339, 358]),
    ],
)
def test_phases_end_where_those_of_pyslowfasts_kinetics_recipe_do(short_cycle, ends):
    """Its SLOWFAST_8x8_R50_stepwise_multigrid: 239 epochs, steps 94, 154 and 196, 32 frames, 224 pixels."""
    assert [end for end, _ in grid(short_cycle=short_cycle).phases] == ends


def test_shapes_of_a_cycle_get_the_same_number_of_steps():
    lengths = phase_lengths([8, 4, 2, 1], [0.8])
    assert sum(lengths) == pytest.approx(1)
    steps = [length / batch for length, batch in zip(lengths, [8, 4, 2, 1])]
    assert steps == pytest.approx([steps[0]] * 4)
    # Fine-tuning has a fifth of all steps, as in a plain training.
    assert lengths[4] / (sum(steps) + lengths[4]) == pytest.approx(0.2)


def test_an_epoch_has_the_shapes_of_its_phase():
    phases = grid(max_epoch=24)
    assert phases.num_epochs == 36
    assert [phases.shapes_at(epoch)[-1] for epoch in (0, 6, 7, 35)] == [
        (8, 8, 160), (8, 8, 160), (4, 16, 160), (1, 32, 224),
    ]  # fmt: skip
    assert phases.phases[0].end == 7
    assert [phases.lr_factor(epoch) for epoch in (6.99, 7, 35.5)] == [8, 4, 1]


@given(max_epoch=st.integers(1, 300), factor=st.floats(0.1, 3), short_cycle=st.booleans())
def test_phases_follow_each_other_through_the_whole_training(max_epoch, factor, short_cycle):
    phases = grid(max_epoch=max_epoch, epoch_factor=factor, short_cycle=short_cycle)
    ends = [end for end, _ in phases.phases]
    assert ends == sorted(set(ends)) and ends[0] > 0
    assert phases.shapes_at(phases.num_epochs - 1)[-1] == (1, 32, 224)  # ends at what is tested
    assert ends[-1] == phases.num_epochs == max(1, round(max_epoch * factor))


@given(
    num_frames=st.integers(1, 64),
    crop_size=st.integers(32, 400),
    long_cycle=st.booleans(),
    short_cycle=st.booleans(),
)
def test_a_step_never_costs_much_more_than_one_of_the_settings(
    num_frames, crop_size, long_cycle, short_cycle
):
    sizes = dict(num_frames=num_frames, crop_size=crop_size)
    for batch, frames, crop in grid(long_cycle, short_cycle, **sizes).all_shapes():
        if frames is not None:
            assert (frames >= 2 or num_frames == 1) and frames <= num_frames
            # Rounding a crop adds 8 pixels at most, rounding the batch half of one.
            cost = (batch - 0.5) * frames * max(1, crop - 8) ** 2
            assert cost <= num_frames * crop_size**2


def test_crops_are_whole_places_of_the_map():
    assert [round_crop(side) for side in (5, 22.6, 45.3, 79.2, 112, 158.4)] == [16, 16, 48, 80, 112, 160]


@given(num_records=st.integers(0, 200), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_steps_stop_before_the_first_that_cannot_be_filled(num_records, sizes):
    steps = count_steps(num_records, sizes)
    assert records_before(steps, sizes) <= num_records < records_before(steps + 1, sizes)


def test_the_steps_of_a_training_are_counted():
    short = grid(long_cycle=False, max_epoch=2)
    # Batches of 8, 4 and 2: 8 + 4 + 2 + 8 = 22 of 25, and no 4 are left.
    assert short.steps_of_epochs(25, 2) == [4, 4, 4]
    assert short.most_left_out(25, 2) == 3
    assert grid(False, False, max_epoch=2).steps_of_epochs(25, 2) == [12, 12]


def test_phases_are_said_in_words():
    words = grid(short_cycle=False, max_epoch=2, epoch_factor=1, num_frames=8, crop_size=64).in_words()
    assert words == "epochs 1-1: 4B x 4 frames x 48 px; epochs 2-2: 1B x 8 frames x 64 px"


def test_a_model_of_one_size_is_refused_with_what_it_takes():
    def takes(num_frames, crop_size):
        return (num_frames, crop_size) == (32, 224)

    with pytest.raises(
        UserError, match=r"LONG_CYCLE True makes clips of 16 frames, 224 pixels .*; x takes y\."
    ):
        demand_model(grid(), takes=takes, legal="y", name="x")
    with pytest.raises(UserError, match="SHORT_CYCLE True makes clips of 32 frames, 160 pixels"):
        demand_model(grid(long_cycle=False), takes=takes, legal="y", name="x")
    demand_model(grid(False, False), takes=takes, legal="y", name="x")


def test_phases_too_short_for_an_epoch_are_counted_in_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        demand_model(grid(), takes=lambda *size: True, legal="", name="x")
        assert not caplog.records
        demand_model(grid(max_epoch=4), takes=lambda *size: True, legal="", name="x")
    assert (
        f"{13 - len(grid(max_epoch=4).phases)} of 13 phases get no epoch, as there are only 6" in caplog.text
    )
