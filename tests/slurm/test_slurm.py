"""A training under a real SLURM: two tasks on two virtual nodes, stopped in the middle of an epoch, put into
the queue again, and in the end the same as a run that nothing stopped.
"""

import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from slowfast_mlp.config.load import load_config
from slowfast_mlp.data.datasets.synthetic import render_corpus
from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.run.main import run
from tests.conftest import ROOT, TINY
from tests.faults.running import LONG, steps_done
from tests.slurm.cluster import Cluster, reason_for_none
from tests.test_run import assert_equal, weights

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(reason_for_none()), reason=f"no SLURM: {reason_for_none()}"),
]
SBATCH = str(ROOT / "tools" / "slurm" / "train.sbatch")
# Two epochs of 30 steps: a signal takes a second or two to arrive, and should do so within an epoch. LONG
# saves after every step, which would hide what only the signal saves.
NUM_VIDEOS = {"train": 61, "val": 2, "test": 2}
SETTINGS = [*LONG, "TRAIN.CHECKPOINT_PERIOD_STEPS", "None", "NUM_GPUS", "0", "SOLVER.MAX_EPOCH", "2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    render_corpus(folder, NUM_VIDEOS)
    return folder


@pytest.fixture(scope="module")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: a socket's path has at most 108 letters
    cluster = Cluster(folder)
    yield cluster
    cluster.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def submit(cluster, tmp_path, corpus):
    """Submits train.sbatch with the tiny config on two virtual nodes; returns the number of the job."""

    def submit(*settings, ntasks_per_node=1, **environment):
        (tmp_path / "tiny.yaml").write_text(TINY)
        options = ["--parsable", "--nodes=2", f"--ntasks-per-node={ntasks_per_node}", "--cpus-per-task=1"]
        options += ["--gpus-per-node=0", "--time=10", f"--output={tmp_path}/job.out", f"--chdir={ROOT}"]
        words = ["--cfg", str(tmp_path / "tiny.yaml"), "DATA.PATH_TO_DATA_DIR", str(corpus), *settings]
        usual = dict(PYTHON=sys.executable, PYTHONPATH=str(ROOT), OUTPUT_DIR=str(tmp_path / "out"))
        # The virtual nodes have no names that a resolver knows.
        usual |= dict(MASTER_ADDR="127.0.0.1", OMP_NUM_THREADS="1")
        return cluster.run("sbatch", *options, SBATCH, *words, **{**usual, **environment})

    return submit


def has_ended(cluster, job):
    """Whether a job will do no more."""
    return cluster.facts(job)["JobState"] in {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}


def end_of(cluster, job, folder, seconds=250):
    """State of a job when it has ended, and all that it printed."""
    cluster.wait_until(lambda: has_ended(cluster, job), "the end of the job", seconds)
    return cluster.facts(job)["JobState"], (folder / "job.out").read_text()


@pytest.mark.parametrize("launcher", ["srun", "torchrun"])
def test_a_run_stopped_in_mid_epoch_is_requeued_and_equals_the_unbroken_one(
    cluster, submit, tmp_path, unbroken_by_two, launcher
):
    job = submit(*SETTINGS, LAUNCHER=launcher)
    stop_in_mid_epoch(cluster, job, tmp_path)
    state, printed = end_of(cluster, job, tmp_path)
    assert state == "COMPLETED", printed
    assert "stopped by SIGUSR1 after epoch 1, step " in printed
    assert "back into the queue" in printed and "restart 1" in printed and "resumed from" in printed
    assert_equal(weights(tmp_path / "out", 2), weights(unbroken_by_two, 2))


@pytest.fixture(scope="module")
def unbroken_by_two(tmp_path_factory, corpus):
    """The output of the same run by two processes that nothing stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "tiny.yaml").write_text(TINY)
    places = ["DATA.PATH_TO_DATA_DIR", str(corpus), "OUTPUT_DIR", str(folder / "out")]
    config = load_config(str(folder / "tiny.yaml"), [*places, *SETTINGS])
    launch(partial(run, config), num_gpus=0, processes=2)
    return folder / "out"


def stop_in_mid_epoch(cluster, job, folder):
    """Signals a job in its first epoch, and lets it start again as soon as it is in the queue."""
    cluster.wait_until(lambda: steps_done(folder) >= 3, "step 3", 200)
    cluster.run("scancel", "--signal=USR1", job)
    cluster.wait_until(lambda: cluster.facts(job)["Restarts"] == "1", "the requeue", 100)
    # SLURM holds a requeued job for two minutes, and one that is hurried too soon for good.
    cluster.wait_until(lambda: cluster.facts(job)["JobState"] == "PENDING", "the end of the first piece")
    cluster.wait_until(lambda: cluster.run("sinfo", "-h", "-t", "idle", "-o", "%D") == "2", "idle nodes")
    cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now+5")


def test_a_job_of_submitit_goes_on_after_a_signal_too(cluster, tmp_path, corpus, unbroken_by_two):
    (tmp_path / "tiny.yaml").write_text(TINY)
    options = ["--folder", str(tmp_path / "printed"), "--nodes", "2", "--gpus-per-node", "0"]
    options += ["--cpus-per-task", "1", "--minutes", "10"]
    words = ["--cfg", str(tmp_path / "tiny.yaml"), "DATA.PATH_TO_DATA_DIR", str(corpus)]
    words += ["OUTPUT_DIR", str(tmp_path / "out"), *SETTINGS]
    environment = dict(PYTHONPATH=str(ROOT), MASTER_ADDR="127.0.0.1", OMP_NUM_THREADS="1")
    tool = str(ROOT / "tools" / "submit.py")
    job = cluster.run(sys.executable, tool, *options, "--", *words, **environment).splitlines()[-1]
    stop_in_mid_epoch(cluster, job, tmp_path)
    cluster.wait_until(lambda: has_ended(cluster, job), "the end of the job", 250)
    printed = "".join(path.read_text() for path in sorted((tmp_path / "printed").glob("*_log.*")))
    assert cluster.facts(job)["JobState"] == "COMPLETED", printed
    assert "stopped by SIGUSR1 after epoch 1, step " in printed and "resumed from" in printed
    assert_equal(weights(tmp_path / "out", 2), weights(unbroken_by_two, 2))


def test_an_error_is_told_once_ends_all_tasks_and_is_not_requeued(cluster, submit, tmp_path):
    job = submit(*SETTINGS, "SOLVER.BASE_LR", "1e30", "SOLVER.WARMUP_EPOCHS", "0")
    state, printed = end_of(cluster, job, tmp_path)
    assert state == "FAILED", printed
    assert "failed with status 1" in printed and "back into the queue" not in printed
    assert cluster.facts(job)["Restarts"] == "0"
