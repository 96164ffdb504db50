"""Every record once: in training per epoch, in evaluation exactly."""

from hypothesis import given
from hypothesis import strategies as st

from slowfast_mlp.data.samplers import EvalBatchSampler, TrainSampler
from slowfast_mlp.seeds import mix_seeds


def train_samplers(num_records, batch_size, world_size, seed=0):
    return [
        TrainSampler(num_records, batch_size=batch_size, rank=rank, world_size=world_size, seed=seed)
        for rank in range(world_size)
    ]


@given(
    num_records=st.integers(1, 300),
    per_rank=st.integers(1, 8),
    world_size=st.integers(1, 7),
    epoch=st.integers(0, 9),
)
def test_an_epoch_gives_no_record_twice_and_drops_less_than_a_batch(num_records, per_rank, world_size, epoch):
    samplers = train_samplers(num_records, per_rank * world_size, world_size)
    seen = []
    for sampler in samplers:
        sampler.epoch = epoch
        share = list(sampler)
        assert len(share) == len(sampler)
        assert all(tag == epoch for _, tag in share)
        seen += [index for index, _ in share]
    assert len(set(seen)) == len(seen)
    assert num_records - len(seen) == num_records % (per_rank * world_size)
    assert all(0 <= index < num_records for index in seen)


@given(world_size=st.sampled_from([1, 2, 3, 4, 6]), epoch=st.integers(0, 5))
def test_a_step_has_the_same_records_on_any_number_of_ranks(world_size, epoch):
    def steps(world):
        samplers = train_samplers(50, 12, world)
        for sampler in samplers:
            sampler.epoch = epoch
        shares = [[index for index, _ in sampler] for sampler in samplers]
        size = 12 // world
        return [sorted(i for share in shares for i in share[n * size : (n + 1) * size]) for n in range(4)]

    assert steps(world_size) == steps(1)


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(epoch, seed):
        (sampler,) = train_samplers(100, 10, 1, seed)
        sampler.epoch = epoch
        return [index for index, _ in sampler]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)


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
