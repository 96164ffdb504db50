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
# Values that must match for a state to be loaded, and their names in messages.
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
    """As many samples as there are records, every class equally often. Labels [N] -> records [N].

    Samples come in rounds of one record per non-empty class, in random order; the last round may be
    incomplete. So in any prefix of the epoch, the counts of two classes differ by at most one. All records of
    a class are sampled, in random order, before one is repeated.
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
    """Repeated augmentation (Hoffer et al., arXiv 1901.09335), as in DeiT: as many samples as there are
    records, of a random subset, REPEATS times each. Repeats are consecutive, so they share a step.

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

    The order is sampled for all ranks from (seed, epoch) and split into steps, which are split over the
    ranks: a step has the same records for any number of ranks. An incomplete last step is dropped.
    `batch_size` counts the records of a step over all ranks; `labels` [N] has one label for each record. Set
    `epoch` before each epoch.

    To resume within an epoch, save `state_dict(step)` with the number of finished steps: workers prefetch, so
    the sampler cannot know it. After `load_state_dict`, the epoch of the state has only its remaining steps;
    their numbers continue. All other epochs are complete.
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
        self._resumed: dict[str, int] = {"epoch": -1}

    def __len__(self) -> int:
        """Remaining steps of `epoch`."""
        return self.num_steps(self.epoch) - self.first_step

    @property
    def first_step(self) -> int:
        """The first step of `epoch`: 0, or the one at which a loaded state resumes."""
        return self._resumed["step"] if self.epoch == self._resumed["epoch"] else 0

    def num_steps(self, epoch: int) -> int:
        """Steps of an epoch, including the steps before a loaded state."""
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
        """The position after `step` steps of `epoch`, the same on every rank; plain numbers."""
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
        """Resumes where the state was saved; sets `epoch`.

        The number of ranks may differ. If the batch size differs, training resumes after the records already
        seen, in the same order, with a warning. Raises ValueError if the list, seed or order differs.
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
        self._resumed = {name: state[name] for name in ("epoch", "step", "num_seen")}

    def forget(self) -> None:
        """Discards the loaded position: the epoch starts at step 0 again."""
        self._resumed = {"epoch": -1}

    def _fixed(self) -> dict[str, Any]:
        return {"seed": self.seed, "num_records": self.num_records, "order": self.order}

    def _num_seen(self, epoch: int, step: int) -> int:
        """Records before a step, in the order of the epoch."""
        return self._offset(epoch) + step * self.batch_size

    def _offset(self, epoch: int) -> int:
        """Records seen before a loaded state, minus those of as many steps of the current batch size."""
        if epoch != self._resumed["epoch"]:
            return 0
        return self._resumed["num_seen"] - self._resumed["step"] * self.batch_size


def count_repeats(order: Tensor) -> Tensor:
    """How often each record of an order [N] occurs before in it [N]."""
    ordered, places = order.sort(stable=True)
    repeats = torch.empty_like(order)
    repeats[places] = torch.arange(len(order)) - torch.searchsorted(ordered, ordered)
    return repeats


def empty_classes(labels: Tensor, num_classes: int) -> list[int]:
    """Classes of 0 to num_classes - 1 that do not occur in the labels [N]."""
    return sorted(set(range(num_classes)) - set(labels.tolist()))


class EvalBatchSampler(Sampler[list[int]]):
    """Batches of records in list order, each record once, without padding, dealt out to the ranks.

    The composition of a batch does not depend on the number of ranks, so neither do the scores. The number of
    batches of two ranks may differ by one.
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
