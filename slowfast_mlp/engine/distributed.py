"""Processes: starting them, who and where one is, and what they share. The only file that knows
torch.distributed.

Without a process group every function answers for one process, so nothing else asks how many there are.
"""

import gc
import os
import socket
import traceback
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from slowfast_mlp.engine import meeting, slurm
from slowfast_mlp.engine.meeting import EndedByOther, ended_by_other
from slowfast_mlp.engine.preflight import row_of
from slowfast_mlp.engine.signals import forwarded
from slowfast_mlp.engine.watchdog import HANG_STATUS
from slowfast_mlp.errors import Stopped, UserError

# Beyond WATCHDOG_SEC, which says more.
DIST_TIMEOUT_SEC = 900.0


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


def is_launched() -> bool:
    """Whether this process was started as a rank: by torchrun, another launcher that sets RANK and
    WORLD_SIZE, or by srun as one of several tasks.
    """
    return _has_rank() or slurm.is_one_of_many(os.environ)


def _has_rank() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def launch(
    function: Callable[[], None],
    *,
    num_gpus: int | None,
    num_shards: int = 1,
    shard_id: int = 0,
    init_method: str | None = None,
    processes: int | None = None,
    timeout_sec: float = DIST_TIMEOUT_SEC,
) -> None:
    """Runs `function` in as many processes as there are GPUs to use on `num_shards` machines, and waits for
    them.

    Under torchrun (or whoever sets RANK and WORLD_SIZE), and as one of several tasks of srun, this process is
    already one of them. `processes` starts that many on a machine without GPUs. Processes wait for each other
    for `timeout_sec`, to meet and in every exchange. A UserError or Stopped of any process is raised here,
    and a bug in one that was started here as a RuntimeError with its traceback. Raises UserError for GPUs
    that do not exist.
    """
    if not _has_rank() and num_shards == 1 and slurm.is_one_of_many(os.environ):
        os.environ.update(slurm.ranks_of_task(os.environ))
        if num_gpus is None:
            slurm.demand_task_for_every_gpu(os.environ, num_gpus=torch.cuda.device_count())
        _run_in_group(function, num_gpus, timeout_sec)
        return
    count = processes or gpus_to_use(num_gpus)
    if _has_rank():
        _run_in_group(function, num_gpus, timeout_sec)
        return
    if count * num_shards == 1:
        function()
        return
    if num_shards > 1 and init_method is None:
        raise UserError(
            f"NUM_SHARDS {num_shards}: give --init_method tcp://FIRST_MACHINE:PORT, or start with torchrun."
        )
    init_method = init_method or f"tcp://127.0.0.1:{_free_port()}"
    errors = mp.get_context("spawn").SimpleQueue()
    arguments = (
        *(function, num_gpus, count, count * num_shards, count * shard_id, init_method, timeout_sec, errors),
    )
    context = mp.spawn(_worker, arguments, nprocs=count, join=False)
    heard: list[int] = []
    try:
        with forwarded(context.pids(), heard):
            while not context.join():
                pass
    except (mp.ProcessExitedException, mp.ProcessRaisedException) as ended:
        if getattr(ended, "exit_code", 0) == HANG_STATUS:
            raise UserError(
                "The run stood still and was ended. The table above says which rank waited for which."
            ) from None
        if errors.empty() and heard:  # before a process could heed it, or a second time
            raise SystemExit(128 + heard[-1]) from None
        if errors.empty():
            raise
    if not errors.empty():
        raise errors.get() from None


def gpus_to_use(num_gpus: int | None) -> int:
    """Number of processes that NUM_GPUS asks for on this machine: one a GPU, one for the CPU."""
    available = torch.cuda.device_count() or int(torch.backends.mps.is_available())
    if num_gpus is not None and num_gpus > available:
        raise UserError(
            f"NUM_GPUS {num_gpus}: this machine has {available}. Leave it out to use all there are, or set 0 "
            "for the CPU."
        )
    return max(1, available if num_gpus is None else num_gpus)


def _worker(local_rank, function, num_gpus, count, world, first_rank, init_method, timeout_sec, errors):
    """One spawned process; sets what torchrun would have set. `errors` receives what failed first."""
    os.setpgrp()  # a terminal's Ctrl-C reaches the process that started this one, which passes it on
    os.environ.update(RANK=str(first_rank + local_rank), WORLD_SIZE=str(world))
    os.environ.update(LOCAL_RANK=str(local_rank), LOCAL_WORLD_SIZE=str(count))
    if device(num_gpus).type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    try:
        meeting.take_address(init_method)
        _run_in_group(function, num_gpus, timeout_sec)
    except Stopped as stop:
        errors.put(stop)  # and ends well: a status that says otherwise would have the other ranks killed
    except EndedByOther:
        raise SystemExit(1) from None
    except UserError as error:
        errors.put(error)
        raise SystemExit(1) from None
    except Exception:
        errors.put(RuntimeError(traceback.format_exc()))
        raise SystemExit(1) from None


def _run_in_group(function: Callable[[], None], num_gpus: int | None, timeout_sec: float) -> None:
    """Runs `function` as one rank of a process group and takes the group down in an order that cannot abort.

    gloo's threads touch Python while it exits if a DDP module is still alive then; so what `function` built
    must be gone before the group is (SIGABRT in 6 of 21 runs otherwise). Raises what `function` does, or
    EndedByOther if another rank failed before.
    """
    where = device(num_gpus)
    if where.type == "cuda":
        if where.index >= torch.cuda.device_count():
            raise UserError(
                f"Process {where.index} of this machine has no GPU: there are {torch.cuda.device_count()}. "
                "Start as many processes as GPUs."
            )
        torch.cuda.set_device(where)
    own, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = meeting.open_store(serve=own == 0, timeout_sec=timeout_sec)
    meeting.call_roll(store, row_of(own, where), world_size=world, timeout_sec=timeout_sec)
    dist.init_process_group(
        "nccl" if where.type == "cuda" else "gloo",
        store=dist.PrefixStore("group", store),
        rank=own,
        world_size=world,
        timeout=timedelta(seconds=timeout_sec),
        device_id=where if where.type == "cuda" else None,
    )
    failed = None
    try:
        function()
    except (UserError, Stopped) as error:
        failed = error if isinstance(error, Stopped) else ended_by_other(store, own, error) or error
        failed = failed.with_traceback(None)  # which would keep the model alive
        failed.__context__ = failed.__cause__ = None
    except BaseException as error:
        # Before the group goes: what breaks in other ranks then should find the reason in the store.
        is_failure = not isinstance(error, (SystemExit, KeyboardInterrupt))
        other = ended_by_other(store, own, error) if is_failure else None
        traceback.clear_frames(error.__traceback__)
        gc.collect()
        dist.destroy_process_group()
        if other:
            raise other from None
        raise
    gc.collect()
    if failed is None:
        dist.barrier()
    dist.destroy_process_group()
    if failed is not None:
        raise failed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


def replicate(model: nn.Module, where: torch.device, *, sync_bn: bool) -> nn.Module:
    """The model as the training loop calls it: its gradients are means over ranks. One process gets it back
    as it is.

    With `sync_bn` batch norms use the statistics of the batches of all ranks. Buffers are left to
    `average_buffers`.
    """
    if not dist.is_initialized():
        return model
    if sync_bn:
        synchronise_batch_norm(model, where)
    with warnings.catch_warnings():
        # torch 2.15 has a new name for broadcast_buffers, which torch 2.6 does not know.
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            model,
            device_ids=[where.index] if where.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )


def without_sharing(model: nn.Module) -> AbstractContextManager:
    """The context of a pass of `replicate`'s model whose gradients stay here until the next pass outside."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def shard_optimizer(
    kind: Callable[..., torch.optim.Optimizer], groups: list[dict[str, Any]], arguments: dict[str, Any]
) -> torch.optim.Optimizer:
    """`kind(groups, **arguments)`, of whose state each rank holds a share (ZeRO, stage 1)."""
    sharded = partial(ZeroRedundancyOptimizer, optimizer_class=kind) if dist.is_initialized() else kind
    return sharded(groups, **arguments)


def gather_optimizer_state(optimizer: torch.optim.Optimizer) -> None:
    """Makes `state_dict` whole on rank 0, from the shares of all ranks, which must all call this."""
    if isinstance(optimizer, ZeroRedundancyOptimizer):
        optimizer.consolidate_state_dict(to=0)


def average_buffers(model: nn.Module) -> None:
    """Gives every rank the mean of the floating-point buffers (batch norm's running statistics)."""
    if not dist.is_initialized():
        return
    for buffer in model.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= world_size()


def synchronise_batch_norm(model: nn.Module, where: torch.device) -> None:
    """Makes every batch norm of the model, in place, one over all ranks; names in the state stay."""
    for name, module in list(model.named_modules()):
        if type(module) not in GROUP_NORMS:
            continue
        if where.type == "cuda":
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, nn.SyncBatchNorm.convert_sync_batchnorm(module))
        else:
            module.__class__ = GROUP_NORMS[type(module)]


class OverRanks:
    """The forward pass of a batch norm over the batches of all ranks, where nn.SyncBatchNorm refuses: off
    CUDA.

    In fp32 under autocast, as nn.BatchNorm's own statistics are.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> the same."""
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        values = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        axes = [axis for axis in range(x.ndim) if axis != 1]
        channels = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        count = values.new_tensor([x.numel() / x.shape[1]])
        sums = _SumOverRanks.apply(torch.cat([values.sum(axes), count]))
        mean = sums[:-1] / sums[-1]
        centred = values - mean.reshape(channels)
        variance = _SumOverRanks.apply(centred.square().sum(axes)) / sums[-1]
        with torch.no_grad():
            unbiased = variance * sums[-1] / (sums[-1] - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.reshape(channels) + self.bias.reshape(channels)).to(x.dtype)


class GroupBatchNorm2d(OverRanks, nn.BatchNorm2d):
    """Batch norm of images over all ranks."""


class GroupBatchNorm3d(OverRanks, nn.BatchNorm3d):
    """Batch norm of clips over all ranks."""


GROUP_NORMS = {nn.BatchNorm2d: GroupBatchNorm2d, nn.BatchNorm3d: GroupBatchNorm3d}


class _SumOverRanks(torch.autograd.Function):
    """Sum over ranks whose gradient is the sum over ranks of the gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)
        return grad
