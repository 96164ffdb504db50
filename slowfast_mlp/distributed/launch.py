"""Starts the processes of a run, and destroys their group in order."""

import gc
import os
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from slowfast_mlp.distributed import rendezvous, slurm
from slowfast_mlp.distributed.preflight import rank_info
from slowfast_mlp.distributed.process_group import device
from slowfast_mlp.distributed.rendezvous import EndedByOther, ended_by_other
from slowfast_mlp.distributed.signals import forward_signals
from slowfast_mlp.distributed.watchdog import HANG_STATUS
from slowfast_mlp.errors import Stopped, UserError

# Longer than WATCHDOG_SEC, since the watchdog reports more.
DIST_TIMEOUT_SEC = 900.0


def is_launched() -> bool:
    """Whether this process was started as a rank: by torchrun, another launcher that sets RANK and
    WORLD_SIZE, or by srun as one of several tasks.
    """
    return _has_rank() or slurm.is_one_of_many(os.environ)


def _has_rank() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@dataclass(frozen=True, kw_only=True)
class _Processes:
    """The processes to start on this machine, `count` of `world_size`, and what each runs."""

    function: Callable[[], None]
    num_gpus: int | None
    count: int
    world_size: int
    first_rank: int
    init_method: str
    timeout_sec: float


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
    """Runs `function` in a process per GPU on each of `num_shards` machines, and waits for them.

    Under torchrun (or another launcher that sets RANK and WORLD_SIZE) and as a task of srun this process is
    already one of them. `processes` starts that many without GPUs. Processes wait for each other for
    `timeout_sec`, at the rendezvous and in every exchange. Raises the UserError or Stopped of any process,
    RuntimeError for a bug in a process started here, and UserError for GPUs that do not exist.
    """
    if not _has_rank() and num_shards == 1 and slurm.is_one_of_many(os.environ):
        os.environ.update(slurm.ranks_of_task(os.environ))
        if num_gpus is None:
            slurm.check_task_for_every_gpu(os.environ, num_gpus=torch.cuda.device_count())
        _run_in_group(function, num_gpus, timeout_sec)
        return
    count = processes or gpus_to_use(num_gpus)
    if _has_rank():
        _run_in_group(function, num_gpus, timeout_sec)
    elif count * num_shards == 1:
        function()
    else:
        _start_processes(
            _Processes(
                function=function,
                num_gpus=num_gpus,
                count=count,
                world_size=count * num_shards,
                first_rank=count * shard_id,
                init_method=init_method or _local_address(num_shards),
                timeout_sec=timeout_sec,
            )
        )


def _start_processes(processes: _Processes) -> None:
    """Starts the processes and waits for them; raises what failed first in any of them."""
    errors = mp.get_context("spawn").SimpleQueue()
    context = mp.spawn(_worker, (processes, errors), nprocs=processes.count, join=False)
    received: list[int] = []
    try:
        with forward_signals(context.pids(), received):
            while not context.join():
                pass
    except (mp.ProcessExitedException, mp.ProcessRaisedException) as ended:
        if getattr(ended, "exit_code", 0) == HANG_STATUS:
            raise UserError(
                "The run stood still and was ended. The table above says which rank waited for which."
            ) from None
        if errors.empty() and received:  # before a process could react, or a second time
            raise SystemExit(128 + received[-1]) from None
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


def _worker(local_rank: int, processes: _Processes, errors: Any) -> None:
    """One spawned process; sets what torchrun would have set. `errors` receives what failed first."""
    os.setpgrp()  # Ctrl-C in a terminal reaches the process that started this one, which forwards it
    os.environ.update(RANK=str(processes.first_rank + local_rank), WORLD_SIZE=str(processes.world_size))
    os.environ.update(LOCAL_RANK=str(local_rank), LOCAL_WORLD_SIZE=str(processes.count))
    if device(processes.num_gpus).type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes.count))
    try:
        rendezvous.set_address(processes.init_method)
        _run_in_group(processes.function, processes.num_gpus, processes.timeout_sec)
    except Stopped as stop:
        errors.put(stop)  # and exits with status 0: any other would have the other ranks killed
    except EndedByOther:
        raise SystemExit(1) from None
    except UserError as error:
        errors.put(error)
        raise SystemExit(1) from None
    except Exception:
        errors.put(RuntimeError(traceback.format_exc()))
        raise SystemExit(1) from None


def _run_in_group(function: Callable[[], None], num_gpus: int | None, timeout_sec: float) -> None:
    """Runs `function` as one rank of a process group and destroys the group in an order that cannot abort.

    gloo's threads touch Python while it exits if a DDP module is still alive then; so what `function` built
    must be gone before the group is (SIGABRT in 6 of 21 runs otherwise). Raises what `function` does, or
    EndedByOther if another rank failed before.
    """
    own_rank = int(os.environ["RANK"])
    store = _join_group(own_rank, device(num_gpus), timeout_sec)
    failed = None
    try:
        function()
    except (UserError, Stopped) as error:
        failed = error if isinstance(error, Stopped) else ended_by_other(store, own_rank, error) or error
        failed = failed.with_traceback(None)  # which would keep the model alive
        failed.__context__ = failed.__cause__ = None
    except BaseException as error:
        # Before the group is destroyed: a rank that fails over that finds the reason in the store.
        is_failure = not isinstance(error, (SystemExit, KeyboardInterrupt))
        other = ended_by_other(store, own_rank, error) if is_failure else None
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


def _join_group(own_rank: int, where: torch.device, timeout_sec: float) -> rendezvous.Store:
    """Meets the other ranks and initializes the process group; returns the store of the rendezvous."""
    if where.type == "cuda":
        if where.index >= torch.cuda.device_count():
            raise UserError(
                f"Process {where.index} of this machine has no GPU: there are {torch.cuda.device_count()}. "
                "Start as many processes as GPUs."
            )
        torch.cuda.set_device(where)
    world_size = int(os.environ["WORLD_SIZE"])
    store = rendezvous.open_store(serve=own_rank == 0, timeout_sec=timeout_sec)
    info = rank_info(own_rank, where)
    rendezvous.wait_for_ranks(store, info, world_size=world_size, timeout_sec=timeout_sec)
    dist.init_process_group(
        "nccl" if where.type == "cuda" else "gloo",
        store=dist.PrefixStore("group", store),
        rank=own_rank,
        world_size=world_size,
        timeout=timedelta(seconds=timeout_sec),
        device_id=where if where.type == "cuda" else None,
    )
    return store


def _local_address(num_shards: int) -> str:
    """An init_method with a free port of this machine. Raises UserError for several machines."""
    if num_shards > 1:
        raise UserError(
            f"NUM_SHARDS {num_shards}: give --init_method tcp://FIRST_MACHINE:PORT, or start with torchrun."
        )
    return f"tcp://127.0.0.1:{_free_port()}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
