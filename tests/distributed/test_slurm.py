"""What of SLURM's environment is believed; the environments are those that SLURM 22.05 set."""

import pytest

from slowfast_mlp.distributed import slurm
from slowfast_mlp.distributed.launch import is_launched
from slowfast_mlp.errors import UserError

# srun with 2 nodes of 2 tasks; the task that is number 3.
TASK = {
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_NTASKS": "4",
    "SLURM_CPUS_PER_TASK": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}
# The script of sbatch, before any srun: it looks like task 0 of 4, and is none.
BATCH = {
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_TASKS_PER_NODE": "2(x2)",
}
SALLOC = {"SLURM_JOB_ID": "2", "SLURM_NTASKS": "4", "SLURM_TASKS_PER_NODE": "4", "SLURM_NODELIST": "n1"}
ONE_TASK = {**TASK, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n1,m2", ["n1", "m2"]),
        ("n[1-2]", ["n1", "n2"]),
        ("gpu[08-11,3],login", ["gpu08", "gpu09", "gpu10", "gpu11", "gpu3", "login"]),
        ("a[1,3]-ib,b-2", ["a1-ib", "a3-ib", "b-2"]),
        ("r[1-2]n[01-02]", ["r1n01", "r1n02", "r2n01", "r2n02"]),
    ],
)
def test_a_nodelist_names_its_nodes_in_order(text, names):
    assert slurm.expand_nodelist(text) == names


@pytest.mark.parametrize("text", ["", "n[1-", "n[a-b]", "n1]"])
def test_a_nodelist_that_is_none_is_refused_with_the_way_out(text):
    with pytest.raises(UserError, match="nodelist .* of SLURM cannot be understood"):
        slurm.expand_nodelist(text)


def test_tasks_of_nodes_are_counted_out():
    assert slurm.tasks_of_nodes("2(x3),1") == [2, 2, 2, 1]
    assert slurm.tasks_of_nodes("4") == [4]


def test_a_task_of_srun_knows_its_rank_and_where_to_meet():
    assert slurm.ranks_of_task(TASK) == {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "n1",
        "MASTER_PORT": "12007",
    }


def test_a_meeting_place_that_was_given_stays():
    given = {**TASK, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    assert slurm.ranks_of_task(given)["MASTER_ADDR"] == "127.0.0.1"
    assert slurm.ranks_of_task(given)["MASTER_PORT"] == "29500"


def test_two_steps_of_a_job_and_two_jobs_meet_at_different_ports():
    ports = {
        slurm.port_of_step({"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)})
        for job in (100, 101, 102)
        for step in range(3)
    }
    assert len(ports) == 9
    interactive = {"SLURM_JOB_ID": "98765432", "SLURM_STEP_ID": "4294967290"}
    assert 12_000 <= slurm.port_of_step(interactive) < 32_000


@pytest.mark.parametrize(
    "environment", [BATCH, SALLOC, ONE_TASK, {}], ids=["sbatch", "salloc", "one", "none"]
)
def test_an_allocation_or_a_single_task_changes_nothing(environment):
    assert not slurm.is_one_of_many(environment)
    assert slurm.cores_of_task({**environment, "RANK": "0", "WORLD_SIZE": "1"}) is None


def test_a_task_uses_the_cores_that_it_was_given_but_torchruns_processes_share_them():
    assert slurm.cores_of_task({**TASK, **slurm.ranks_of_task(TASK)}) == 2
    under_torchrun = {**TASK, "RANK": "3", "WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "x"}
    assert slurm.cores_of_task(under_torchrun) is None


def test_a_task_of_srun_counts_as_launched(monkeypatch):
    assert not is_launched()
    for name, value in TASK.items():
        monkeypatch.setenv(name, value)
    assert is_launched()


def test_tasks_that_would_leave_gpus_idle_are_refused_with_the_way_out():
    slurm.check_task_for_every_gpu({"LOCAL_WORLD_SIZE": "8"}, num_gpus=8)
    slurm.check_task_for_every_gpu({"LOCAL_WORLD_SIZE": "8"}, num_gpus=1)
    with pytest.raises(UserError, match="started 1 tasks on this node.*8 GPUs.*--ntasks-per-node=8"):
        slurm.check_task_for_every_gpu({"LOCAL_WORLD_SIZE": "1"}, num_gpus=8)
