"""A training as a job of submitit: submitted from Python, put into the queue again when it was stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from slowfast_mlp.errors import UserError

SIGNAL_DELAY_SEC = 120
REQUEUE_SEC = 60
SAVED = 75  # what tools/run_net.py ends with when it was stopped by a signal and has saved


@dataclass(frozen=True, kw_only=True)
class Training:
    """What every task of the job does: run_net with these words, as the rank that SLURM made it.

    After `max_restarts` restarts of the job it stays out of the queue.
    """

    program: str
    words: tuple[str, ...]
    max_restarts: int

    def __call__(self) -> None:
        """Returns when the training is done; raises RuntimeError with the status otherwise."""
        # SLURM signals every process of a task, so run_net hears it too; submitit's own answer would end the
        # job before run_net has saved.
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        status = subprocess.call([sys.executable, self.program, *self.words])
        restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
        if status == SAVED and restarts < self.max_restarts:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if os.environ["SLURM_PROCID"] == "0":
                subprocess.check_call(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]])
            time.sleep(REQUEUE_SEC)  # SLURM ends all tasks when it requeues the job
        elif status:
            raise RuntimeError(f"run_net ended with status {status}; it has printed why")


def submit(
    program: str,
    words: Sequence[str],
    *,
    folder: str,
    nodes: int,
    tasks_per_node: int,
    gpus_per_node: int,
    cpus_per_task: int,
    minutes: int,
    partition: str | None,
    max_restarts: int,
) -> str:
    """Submits a training and returns the number of its job. `folder`, which all nodes must see, receives what
    the tasks print. Raises UserError where there is no submitit or no SLURM.
    """
    if find_spec("submitit") is None:
        raise UserError("This needs submitit: pip install submitit.")
    import submitit

    if submitit.SlurmExecutor.affinity() < 0:
        raise UserError("There is no SLURM here (srun is not found): submit from a login node.")
    executor = submitit.SlurmExecutor(folder=Path(folder))
    executor.update_parameters(
        job_name="slowfast_mlp",
        nodes=nodes,
        ntasks_per_node=tasks_per_node,
        cpus_per_task=cpus_per_task,
        time=minutes,
        # submitit asks for SIGUSR2, which run_net does not handle.
        additional_parameters={"requeue": True, "signal": f"USR1@{SIGNAL_DELAY_SEC}"},
        **({"gpus_per_node": gpus_per_node} if gpus_per_node else {}),
        **({"partition": partition} if partition else {}),
    )
    training = Training(program=program, words=tuple(words), max_restarts=max_restarts)
    return executor.submit(training).job_id
