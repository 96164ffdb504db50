"""Which records an epoch visits, in which order, and on which rank."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from slowfast_mlp.seeds import mix_seeds


class TrainSampler(Sampler[tuple[int, int]]):
    """Pairs (record, epoch) of this rank's share of the epoch's shuffle.

    The order is drawn for the whole set and dealt out in batches, so that a step sees the same records on any
    number of ranks. What is left over at the end, less than a global batch, is dropped. Set `epoch` before
    each epoch; it goes along with the record, because worker processes hold a copy of the data set that
    cannot be told.
    """

    def __init__(self, num_records: int, *, batch_size: int, rank: int, world_size: int, seed: int):
        if batch_size % world_size:
            raise ValueError(f"a batch of {batch_size} cannot be dealt out to {world_size} ranks")
        self.num_records = num_records
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.num_records // self.batch_size * self.batch_size // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch))
        order = torch.randperm(self.num_records, generator=generator)
        order = order[: self.num_records // self.batch_size * self.batch_size]
        share = order.reshape(-1, self.world_size, self.batch_size // self.world_size)[:, self.rank]
        yield from ((index, self.epoch) for index in share.flatten().tolist())


class EvalBatchSampler(Sampler[list[int]]):
    """Batches of records in file order, whole batches dealt out to the ranks: each record once, nothing
    padded.

    The batches are those of one rank, so that a score does not depend on how many ranks share the work: the
    same records meet in the same forward pass. Ranks may get a batch more or less.
    """

    def __init__(self, num_records: int, *, batch_size: int, rank: int, world_size: int):
        starts = range(0, num_records, batch_size)
        self.batches = [list(range(start, min(start + batch_size, num_records))) for start in starts][
            rank::world_size
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)
