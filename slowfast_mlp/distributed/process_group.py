"""Processes: who and where one is, and what they tell each other.

Without a process group every function answers for one process, so nothing else asks how many there are.
"""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from slowfast_mlp.distributed import slurm


def is_in_group() -> bool:
    """Whether this process is one of a group, which may be of one."""
    return dist.is_initialized()


def rank() -> int:
    """Number of this process among all, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device(num_gpus: int | None) -> torch.device:
    """The device of this process: its GPU of the machine, Apple's, or the CPU."""
    if num_gpus != 0 and torch.cuda.is_available():
        # SLURM can show every task its own GPU alone, which is then number 0 for all of them.
        alone = torch.cuda.device_count() == 1
        return torch.device("cuda", 0 if alone else int(os.environ.get("LOCAL_RANK", 0)))
    if num_gpus != 0 and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def processes_of_machine() -> int:
    """Number of processes that share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if dist.is_initialized() else 1


def cores_of_process() -> int:
    """CPU cores that this process may use without taking them from the others of its machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if of_task := slurm.cores_of_task(os.environ):
        return max(1, min(cores, of_task))
    return max(1, cores // processes_of_machine())


def sum_over_ranks(values: Tensor) -> Tensor:
    """The elementwise sum over all ranks, on every rank; `values` itself is overwritten."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def gather_objects(item: Any) -> list[Any]:
    """`item` of every rank, in the order of ranks, on every rank."""
    if not dist.is_initialized():
        return [item]
    items: list[Any] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items


def wait_for_all() -> None:
    """Returns when every rank is here."""
    if dist.is_initialized():
        dist.barrier()


class Polls:
    """Questions to all ranks, each answered yes where any says so.

    They talk through the CPU in a group of their own, and the answers to one call come with the next: so no
    call waits for a GPU, nor for more than that every rank has made the call before. One process is answered
    at once.
    """

    def __init__(self):
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self._under_way: tuple[Any, Tensor] | None = None

    def ask(self, *mine: bool) -> list[bool]:
        """The answers to what all ranks asked in the call before; every rank must call this."""
        if self._group is None:
            return list(mine)
        answers = self.close() or [False] * len(mine)
        votes = torch.tensor(mine, dtype=torch.int32)
        work = dist.all_reduce(votes, dist.ReduceOp.MAX, self._group, async_op=True)
        self._under_way = (work, votes)
        return answers

    def close(self) -> list[bool]:
        """The last answers, if there are any to come."""
        if self._under_way is None:
            return []
        (work, votes), self._under_way = self._under_way, None
        work.wait()
        return votes.bool().tolist()
