"""Which records an epoch samples, in which order, and on which rank."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Sampler

from slowfast_mlp.seeding import mix_seeds

logger = logging.getLogger(__name__)

REPEATS = 3  # of a record in an epoch of repeated augmentation: DeiT's (arXiv 2012.12877)
# What must be the same for a state to mean anything, and how the user knows it.
FIXED_IN_STATE = {
    "seed": "RNG_SEED",
    "num_records": "number of records in the train list:",
    "order": "TRAIN.SAMPLER",
}


class SampleKey(NamedTuple):
    """The key of one training item: a record in an epoch.

    `repeat` counts how often the epoch has sampled the record before. The epoch is part of the key because
    workers hold copies of the dataset, whose state cannot be changed from the main process.
    """

    record: int
    epoch: int
    repeat: int = 0


def shuffled(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Every record once, in random order. Labels [N] -> records [N]."""
    return torch.randperm(len(labels), generator=generator)


def balanced(labels: Tensor, generator: torch.Generator) -> Tensor:
    """As many draws as there are records, every class equally often. Labels [N] -> records [N].

    The draws come in rounds: each round has one record of every class that has any, classes in random order;
    the last round may be cut. So however long a part of the epoch is taken from its start, classes differ by
    at most one. A class gives its records in random order, and all of them before any comes again.
    """
    _, counts = labels.unique(return_counts=True)  # of the classes that have records, ascending
    num_rounds = -(-len(labels) // len(counts))
    columns = []
    for members in labels.argsort(stable=True).split(counts.tolist()):
        passes = [
            members[torch.randperm(len(members), generator=generator)]
            for _ in range(-(-num_rounds // len(members)))
        ]
        columns.append(torch.cat(passes)[:num_rounds])
    rounds = torch.stack(columns, dim=1)  # rounds, classes
    places = torch.rand(rounds.shape, generator=generator, dtype=torch.float64).argsort(dim=1)
    return rounds.gather(1, places).flatten()[: len(labels)]


def repeated(labels: Tensor, generator: torch.Generator) -> Tensor:
    """As many draws as there are records: a share of them, REPEATS times each, one after the other, so that
    they meet in a step: repeated augmentation (Hoffer et al., arXiv 1901.09335), as DeiT has it.

    Labels [N] -> records [N].
    """
    order = torch.randperm(len(labels), generator=generator)
    return order.repeat_interleave(REPEATS)[: len(labels)]


# The values of TRAIN.SAMPLER: labels [N] and a generator -> the records of an epoch in order [N].
ORDERS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "shuffle": shuffled,
    "balanced": balanced,
    "repeated": repeated,
}


class TrainSampler(Sampler[list[SampleKey]]):
    """This rank's share of the steps of an epoch.

    The order is drawn for all ranks from (seed, epoch), cut into steps and each of them dealt out, so that a
    step sees the same records on any number of ranks. Records left over at the end, fewer than a step takes,
    are dropped. `batch_size` counts the records of a step over all ranks; `labels` [N] has one label for each
    record. Set `epoch` before each epoch.

    To go on in the middle of an epoch, save `state_dict(step)`, where the loop says how many steps are done:
    workers fetch ahead, so the sampler cannot know. After `load_state_dict` the epoch of the state has only
    the steps that are left, numbered on from that one, and all other epochs are whole.
    """

    def __init__(
        self,
        labels: Tensor,
        *,
        batch_size: int,
        rank: int,
        world_size: int,
        seed: int,
        order: str = "shuffle",
    ):
        if batch_size % world_size:
            raise ValueError(f"a batch of {batch_size} cannot be dealt out to {world_size} ranks")
        self.labels = labels
        self.num_records = len(labels)
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.order = order
        self.epoch = 0
        self._taken_up: dict[str, int] = {"epoch": -1}

    def __len__(self) -> int:
        """Steps that are left of `epoch`."""
        return self.num_steps(self.epoch) - self.first_step

    @property
    def first_step(self) -> int:
        """The step of `epoch` that comes first: 0, or where a loaded state goes on."""
        return self._taken_up["step"] if self.epoch == self._taken_up["epoch"] else 0

    def num_steps(self, epoch: int) -> int:
        """Steps of an epoch, with those that were done before a loaded state."""
        return (self.num_records - self._offset(epoch)) // self.batch_size

    def share_done(self, step: int) -> float:
        """Fraction of the records of `epoch` seen before a step, in [0, 1]; the learning rate follows it."""
        num_steps = self.num_steps(self.epoch)
        return self._num_seen(self.epoch, step) / max(1, self._num_seen(self.epoch, num_steps))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch))
        order = ORDERS[self.order](self.labels, generator)  # N
        repeats = count_repeats(order)  # N
        size = self.batch_size // self.world_size
        for step in range(self.first_step, self.num_steps(self.epoch)):
            start = self._num_seen(self.epoch, step) + self.rank * size
            share = slice(start, start + size)
            yield [
                SampleKey(record, self.epoch, repeat)
                for record, repeat in zip(order[share].tolist(), repeats[share].tolist())
            ]

    def state_dict(self, step: int) -> dict[str, Any]:
        """Where training stands after `step` steps of `epoch`, the same on every rank; plain numbers."""
        if not self.first_step <= step <= self.num_steps(self.epoch):
            raise ValueError(f"step {step} of an epoch of {self.num_steps(self.epoch)}")
        done = step == self.num_steps(self.epoch)
        epoch = self.epoch + done
        return {
            "epoch": epoch,
            "step": 0 if done else step,
            "num_seen": 0 if done else self._num_seen(epoch, step),
            "batch_sizes": [self.batch_size],
            **self._fixed(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the state was saved; sets `epoch`.

        The number of ranks may be another. With another batch size training goes on after the records that
        were seen, in the same order, and a warning says so. Raises ValueError for another list, seed or
        order.
        """
        for name, now in self._fixed().items():
            if state[name] != now:
                raise ValueError(
                    f"The training to resume had {FIXED_IN_STATE[name]} {state[name]}, not {now}: its epoch "
                    "cannot go on in the same order. Use its settings and lists, or another OUTPUT_DIR."
                )
        sizes = [self.batch_size]
        if state["step"] and sizes != state["batch_sizes"]:
            logger.warning(
                "epoch %d goes on after the %d records that were seen, in the same order, but in steps of %s "
                "instead of %s records: from here on it is not the unbroken run",
                state["epoch"] + 1,
                state["num_seen"],
                sizes,
                state["batch_sizes"],
            )
        self.epoch = state["epoch"]
        self._taken_up = {name: state[name] for name in ("epoch", "step", "num_seen")}

    def forget(self) -> None:
        """Makes the epoch that a loaded state began within a whole one again, to go through it anew."""
        self._taken_up = {"epoch": -1}

    def _fixed(self) -> dict[str, Any]:
        return {"seed": self.seed, "num_records": self.num_records, "order": self.order}

    def _num_seen(self, epoch: int, step: int) -> int:
        """Records of the epoch's order before a step."""
        return self._offset(epoch) + step * self.batch_size

    def _offset(self, epoch: int) -> int:
        """Records that the steps before a loaded state saw more (or fewer) than they would have now."""
        if epoch != self._taken_up["epoch"]:
            return 0
        return self._taken_up["num_seen"] - self._taken_up["step"] * self.batch_size


def count_repeats(order: Tensor) -> Tensor:
    """How often each record of an order [N] stands before in it [N]."""
    ordered, places = order.sort(stable=True)
    repeats = torch.empty_like(order)
    repeats[places] = torch.arange(len(order)) - torch.searchsorted(ordered, ordered)
    return repeats


def empty_classes(labels: Tensor, num_classes: int) -> list[int]:
    """The classes, 0 to num_classes - 1, that none of the labels [N] is."""
    return sorted(set(range(num_classes)) - set(labels.tolist()))


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
