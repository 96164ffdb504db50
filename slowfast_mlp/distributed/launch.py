"""Starting the processes of a run, and taking their group down in order."""

import gc
import os
import socket
import traceback
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from slowfast_mlp.distributed import rendezvous, slurm
from slowfast_mlp.distributed.preflight import row_of
from slowfast_mlp.distributed.process_group import device
from slowfast_mlp.distributed.rendezvous import EndedByOther, ended_by_other
from slowfast_mlp.distributed.signals import forwarded
from slowfast_mlp.distributed.watchdog import HANG_STATUS
from slowfast_mlp.errors import Stopped, UserError

# Beyond WATCHDOG_SEC, which says more.
DIST_TIMEOUT_SEC = 900.0


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
        rendezvous.take_address(init_method)
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
    store = rendezvous.open_store(serve=own == 0, timeout_sec=timeout_sec)
    rendezvous.call_roll(store, row_of(own, where), world_size=world, timeout_sec=timeout_sec)
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
