"""The process group: rank, device and collectives.

Without a process group every function works for a single process, so no caller needs to distinguish.
"""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from slowfast_mlp.distributed import slurm


def is_in_group() -> bool:
    """Whether this process belongs to a group, which may have one member."""
    return dist.is_initialized()


def rank() -> int:
    """The rank of this process, 0 without a group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device(num_gpus: int | None) -> torch.device:
    """The device of this process: its GPU of the machine, Apple's, or the CPU."""
    if num_gpus != 0 and torch.cuda.is_available():
        # Under SLURM every task may see its own GPU only, which then has index 0.
        alone = torch.cuda.device_count() == 1
        return torch.device("cuda", 0 if alone else int(os.environ.get("LOCAL_RANK", 0)))
    if num_gpus != 0 and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def processes_of_machine() -> int:
    """Number of processes that share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if dist.is_initialized() else 1


def cores_of_process() -> int:
    """CPU cores for this process: its share of the cores of the machine."""
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
    """The `item` of every rank, ordered by rank, on every rank."""
    if not dist.is_initialized():
        return [item]
    items: list[Any] = [None] * world_size()
    dist.all_gather_object(items, item)
    return items


def barrier() -> None:
    """Waits until every rank has called this."""
    if dist.is_initialized():
        dist.barrier()


class Polls:
    """Asynchronous votes: each is true if it is true on any rank.

    The votes are all-reduced on the CPU in a separate group, and every call returns the result of the
    previous one. So no call waits for a GPU, or for longer than until every rank has made the previous call.
    A single process gets its own votes at once.
    """

    def __init__(self):
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() else None
        self._pending: tuple[Any, Tensor] | None = None

    def ask(self, *mine: bool) -> list[bool]:
        """The result of the previous call's votes; every rank must call this."""
        if self._group is None:
            return list(mine)
        results = self.close() or [False] * len(mine)
        votes = torch.tensor(mine, dtype=torch.int32)
        work = dist.all_reduce(votes, dist.ReduceOp.MAX, self._group, async_op=True)
        self._pending = (work, votes)
        return results

    def close(self) -> list[bool]:
        """The result of the last votes, if one is pending."""
        if self._pending is None:
            return []
        (work, votes), self._pending = self._pending, None
        work.wait()
        return votes.bool().tolist()
