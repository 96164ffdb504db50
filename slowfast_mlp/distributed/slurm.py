"""Rank, world size and address from the environment of a task of SLURM's srun; pure functions."""

import itertools
import re
from collections.abc import Mapping

from slowfast_mlp.errors import UserError

# srun sets all of these in every task. salloc and sbatch set SLURM_NTASKS too, in shells that are not tasks.
OF_A_TASK = (
    "SLURM_STEP_ID",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_STEP_NODELIST",
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
)
# Below the ports that Linux gives to outgoing connections (from 32768), above the usual services.
FIRST_PORT, NUM_PORTS = 12_000, 20_000
PORTS_OF_A_JOB = 7  # so that two steps of a job, and the next job, meet elsewhere


def is_one_of_many(environment: Mapping[str, str]) -> bool:
    """Whether srun started this process as one of several tasks."""
    return all(name in environment for name in OF_A_TASK) and int(environment["SLURM_STEP_NUM_TASKS"]) > 1


def ranks_of_task(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that torchrun would set, for a task for which `is_one_of_many`.

    MASTER_ADDR and MASTER_PORT are kept if they are set. Raises UserError for values that cannot be parsed.
    """
    nodes = expand_nodelist(environment["SLURM_STEP_NODELIST"])
    tasks = tasks_of_nodes(environment["SLURM_STEP_TASKS_PER_NODE"])
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(tasks[int(environment["SLURM_NODEID"])]),
        "MASTER_ADDR": environment.get("MASTER_ADDR") or nodes[0],
        "MASTER_PORT": environment.get("MASTER_PORT") or str(port_of_step(environment)),
    }


def port_of_step(environment: Mapping[str, str]) -> int:
    """A port that other jobs and other steps of this job are unlikely to use."""
    step = int(environment["SLURM_STEP_ID"]) % PORTS_OF_A_JOB
    return FIRST_PORT + (int(environment["SLURM_JOB_ID"]) * PORTS_OF_A_JOB + step) % NUM_PORTS


def cores_of_task(environment: Mapping[str, str]) -> int | None:
    """CPU cores per task, if SLURM tells and this rank is a task of its own.

    Under torchrun the processes of a machine share the cores of one task.
    """
    own = environment.get("RANK"), environment.get("WORLD_SIZE")
    if not is_one_of_many(environment) or "TORCHELASTIC_RUN_ID" in environment:
        return None
    if own != (environment["SLURM_PROCID"], environment["SLURM_STEP_NUM_TASKS"]):
        return None
    cores = environment.get("SLURM_CPUS_PER_TASK")
    return int(cores) if cores else None


def check_task_for_every_gpu(environment: Mapping[str, str], *, num_gpus: int) -> None:
    """Raises UserError if the tasks of this node would leave some of the GPUs that each sees idle."""
    num_tasks = int(environment["LOCAL_WORLD_SIZE"])
    if num_gpus > num_tasks:
        raise UserError(
            f"srun started {num_tasks} tasks on this node, each of which sees {num_gpus} GPUs. Start one "
            f"task a GPU (--ntasks-per-node={num_gpus}), or one torchrun a node; or set NUM_GPUS "
            f"{num_tasks} to leave the others idle."
        )


def expand_nodelist(text: str) -> list[str]:
    """The names in a nodelist, in its order: `a[01-03,7],b` is a01 a02 a03 a7 b. Raises UserError."""
    names = []
    for part in re.findall(r"(?:\[[^\]]*\]|[^,\[\]])+", text):
        pieces = re.split(r"\[([^\]]*)\]", part)  # text, ranges, text, ranges, ..., text
        choices = [_numbers(piece, text) if n % 2 else [piece] for n, piece in enumerate(pieces)]
        names += ["".join(choice) for choice in itertools.product(*choices)]
    if not names or text.count("[") != text.count("]"):
        raise UserError(
            f"The nodelist {text!r} of SLURM cannot be understood. Set MASTER_ADDR to the first node and "
            "start with torchrun."
        )
    return names


def _numbers(ranges: str, nodelist: str) -> list[str]:
    """`01-03,7` is 01 02 03 7."""
    numbers = []
    for part in ranges.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match:
            raise UserError(f"The nodelist {nodelist!r} of SLURM cannot be understood at {part!r}.")
        first, last = match[1], match[2] or match[1]
        numbers += [f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)]
    return numbers


def tasks_of_nodes(text: str) -> list[int]:
    """Tasks on each node: `2(x3),1` is 2 2 2 1."""
    tasks = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if not match:
            raise UserError(f"SLURM_STEP_TASKS_PER_NODE {text!r} cannot be understood at {part!r}.")
        tasks += [int(match[1])] * int(match[2] or 1)
    return tasks
