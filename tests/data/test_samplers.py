"""Every record once: in training per epoch, in evaluation exactly."""

import logging
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mlp.data.samplers import ORDERS, EvalBatchSampler, TrainSampler, empty_classes
from slowfast_mlp.seeding import mix_seeds


def train_samplers(num_records, batch_size, world_size, seed=0, labels=None, **settings):
    return [
        TrainSampler(
            torch.tensor(labels or [0] * num_records),
            batch_size=batch_size,
            rank=rank,
            world_size=world_size,
            seed=seed,
            **settings,
        )
        for rank in range(world_size)
    ]


def steps_of(samplers, epoch=None):
    """The draws of every step of an epoch, those of rank 0 first."""
    for sampler in samplers:
        sampler.epoch = sampler.epoch if epoch is None else epoch
    return [[draw for share in shares for draw in share] for shares in zip(*samplers, strict=True)]


settings = given(
    num_records=st.integers(1, 60),
    per_rank=st.integers(1, 3),
    world_size=st.integers(1, 7),
    epoch=st.integers(0, 9),
    order=st.sampled_from(sorted(ORDERS)),
    num_classes=st.integers(1, 9),
)


@settings
def test_the_ranks_share_the_order_of_one_and_drop_less_than_the_next_step(
    num_records, per_rank, world_size, epoch, order, num_classes
):
    labels = [index % num_classes for index in range(num_records)]
    batch_size = per_rank * world_size
    same = dict(labels=labels, order=order)
    steps = steps_of(train_samplers(num_records, batch_size, world_size, **same), epoch)
    assert steps == steps_of(train_samplers(num_records, batch_size, 1, **same), epoch)
    assert [len(step) for step in steps] == [batch_size] * len(steps)
    assert 0 <= num_records - sum(map(len, steps)) < batch_size
    assert all(draw.epoch == epoch and 0 <= draw.record < num_records for step in steps for draw in step)


@given(num_records=st.integers(1, 300), batch_size=st.integers(1, 8), epoch=st.integers(0, 9))
def test_a_shuffled_epoch_gives_no_record_twice(num_records, batch_size, epoch):
    (sampler,) = train_samplers(num_records, batch_size, 1)
    draws = [draw for step in steps_of([sampler], epoch) for draw in step]
    assert len({draw.record for draw in draws}) == len(draws) == num_records // batch_size * batch_size
    assert all(draw.repeat == 0 for draw in draws)


@settings
def test_training_goes_on_after_every_step_as_if_it_had_not_stopped(
    num_records, per_rank, world_size, epoch, order, num_classes
):
    labels = [index % num_classes for index in range(num_records)]
    same = dict(labels=labels, order=order)
    batch_size = per_rank * world_size
    (whole,) = train_samplers(num_records, batch_size, 1, **same)
    steps, following = steps_of([whole], epoch), steps_of([whole], epoch + 1)
    whole.epoch = epoch
    for done in range(len(steps) + 1):
        state = whole.state_dict(done)
        samplers = train_samplers(num_records, batch_size, world_size, **same)
        for sampler in samplers:
            sampler.load_state_dict(state)
            assert sampler.epoch == epoch + (done == len(steps))
            assert len(sampler) == (len(steps) - done or len(following))
        assert steps_of(samplers) == (steps[done:] or following)
        clock = [samplers[0].share_done(step) for step in range(done, len(steps))]
        assert clock == [whole.share_done(step) for step in range(done, len(steps))]
        for again in range(done, len(steps)):  # and stops again
            assert samplers[0].state_dict(again) == whole.state_dict(again)
        assert steps_of(samplers, epoch + 1) == following


@given(
    num_records=st.integers(9, 100),
    batch_size=st.integers(1, 9),
    other=st.integers(1, 9),
    data=st.data(),
)
def test_with_another_batch_size_training_goes_on_after_the_records_that_were_seen(
    num_records, batch_size, other, data
):
    (whole,), (sampler,) = train_samplers(num_records, batch_size, 1), train_samplers(num_records, other, 1)
    done = data.draw(st.integers(0, len(whole) - 1))
    order = [draw.record for step in steps_of(train_samplers(num_records, 1, 1), 0) for draw in step]
    sampler.load_state_dict(whole.state_dict(done))
    left = [draw.record for step in steps_of([sampler]) for draw in step]
    assert left == order[done * batch_size :][: len(left)]
    assert num_records - done * batch_size - len(left) < other
    assert sampler.num_steps(0) == sampler.first_step + len(sampler)
    total = done * batch_size + len(left)
    assert sampler.share_done(sampler.first_step) == done * batch_size / total
    assert sampler.share_done(sampler.num_steps(0)) == 1


def test_the_epoch_that_a_state_began_within_can_be_gone_through_from_its_first_step():
    (whole,), (sampler,) = train_samplers(20, 4, 1), train_samplers(20, 4, 1)
    sampler.load_state_dict(whole.state_dict(3))
    assert len(steps_of([sampler])) == 2
    sampler.forget()
    assert sampler.epoch == 0 and steps_of([sampler]) == steps_of([whole])


def test_another_batch_size_is_said_once_it_matters(caplog):
    (before,), (after,) = train_samplers(20, 4, 1), train_samplers(20, 5, 1)
    after.load_state_dict(before.state_dict(0))
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        after.load_state_dict(before.state_dict(2))
    assert "epoch 1 goes on after the 8 records that were seen" in caplog.text
    assert "in steps of [5] instead of [4] records" in caplog.text


def test_the_state_is_plain_and_the_same_on_every_rank():
    states = [sampler.state_dict(2) for sampler in train_samplers(20, 6, 3, seed=7)]
    expected = {
        "epoch": 0,
        "step": 2,
        "num_seen": 12,
        "batch_sizes": [6],
        "seed": 7,
        "num_records": 20,
        "order": "shuffle",
    }
    assert states == [expected] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(seed=1), "RNG_SEED 0, not 1"),
        (dict(num_records=21), "number of records in the train list: 20, not 21"),
        (dict(order="balanced"), "TRAIN.SAMPLER shuffle, not balanced"),
    ],
)
def test_a_state_of_another_order_is_refused(change, message):
    (before,) = train_samplers(20, 4, 1)
    (after,) = train_samplers(**{**dict(num_records=20, batch_size=4, world_size=1), **change})
    with pytest.raises(ValueError, match=message):
        after.load_state_dict(before.state_dict(1))


def test_a_state_after_more_steps_than_there_are_is_refused():
    (sampler,) = train_samplers(20, 4, 1)
    with pytest.raises(ValueError, match="step 6 of an epoch of 5"):
        sampler.state_dict(6)


@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=150), epoch=st.integers(0, 5))
def test_a_balanced_epoch_draws_classes_and_the_records_of_each_equally_often(labels, epoch):
    (sampler,) = train_samplers(0, 1, 1, labels=labels, order="balanced")
    draws = [step[0] for step in steps_of([sampler], epoch)]
    assert len(draws) == len(labels)
    for end in range(1, len(draws) + 1):  # whatever is dropped at the end
        classes = Counter({label: 0 for label in labels})
        classes.update(labels[draw.record] for draw in draws[:end])
        assert max(classes.values()) - min(classes.values()) <= 1
    records = Counter({index: 0 for index in range(len(labels))})
    for draw in draws:
        assert draw.repeat == records[draw.record]
        records[draw.record] += 1
    for label in set(labels):
        counts = [records[index] for index, other in enumerate(labels) if other == label]
        assert max(counts) - min(counts) <= 1


def test_a_rare_class_is_drawn_as_often_as_a_frequent_one():
    (sampler,) = train_samplers(0, 2, 1, labels=[0] * 9 + [4], order="balanced")
    draws = [draw for step in steps_of([sampler], 0) for draw in step]
    assert [draw.repeat for draw in draws if draw.record == 9] == [0, 1, 2, 3, 4]
    assert len({draw.record for draw in draws if draw.record != 9}) == 5
    assert steps_of([sampler], 1) != steps_of([sampler], 0)


def test_classes_without_records_are_found():
    assert empty_classes(torch.tensor([0, 3, 3, 1]), 6) == [2, 4, 5]
    assert empty_classes(torch.tensor([0, 1]), 2) == []


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(epoch, seed):
        return [draw.record for step in steps_of(train_samplers(100, 10, 1, seed), epoch) for draw in step]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)


def test_a_batch_that_ranks_cannot_share_is_refused():
    with pytest.raises(ValueError, match="a batch of 4 cannot be dealt out to 3 ranks"):
        train_samplers(20, 4, 3)


@given(num_records=st.integers(0, 100), batch_size=st.integers(1, 9), world_size=st.integers(1, 7))
def test_evaluation_gives_every_record_to_exactly_one_rank(num_records, batch_size, world_size):
    shares = [
        list(EvalBatchSampler(num_records, batch_size=batch_size, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert sorted(index for share in shares for batch in share for index in batch) == list(range(num_records))


def test_the_batches_of_an_evaluation_are_those_of_one_rank():
    one = list(EvalBatchSampler(7, batch_size=2, rank=0, world_size=1))
    assert one == [[0, 1], [2, 3], [4, 5], [6]]
    two = [list(EvalBatchSampler(7, batch_size=2, rank=rank, world_size=2)) for rank in (0, 1)]
    assert two == [[[0, 1], [4, 5]], [[2, 3], [6]]]


def test_seeds_of_neighbouring_numbers_differ():
    seeds = {
        mix_seeds(seed, epoch, index) for seed in range(3) for epoch in range(20) for index in range(200)
    }
    assert len(seeds) == 3 * 20 * 200
    assert mix_seeds(1, 2) != mix_seeds(2, 1)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_repeated_augmentation_draws_a_third_of_the_records_three_times_each_side_by_side():
    sampler = TrainSampler(
        torch.zeros(10, dtype=torch.int64), batch_size=5, rank=0, world_size=1, seed=0, order="repeated"
    )
    draws = [draw for step in sampler for draw in step]
    records = [draw.record for draw in draws]
    assert records[:9] == [record for record in records[:9:3] for _ in range(3)]
    assert len(set(records)) == 4 and len(draws) == 10
    assert [draw.repeat for draw in draws] == [0, 1, 2] * 3 + [0]  # each repeat is augmented by its own draws
    sampler.epoch = 1
    assert {draw.record for step in sampler for draw in step} != set(records)
