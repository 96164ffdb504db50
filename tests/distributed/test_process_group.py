"""Real processes in a process group (gloo): what they share, and how they end."""

import os
import subprocess
import sys
from functools import partial

import pytest
import torch

from slowfast_mlp.distributed import data_parallel
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed.launch import _free_port, launch
from slowfast_mlp.errors import UserError
from tests.distributed import jobs


def test_one_process_answers_for_itself():
    assert (dist.rank(), dist.world_size(), dist.processes_of_machine()) == (0, 1, 1)
    assert dist.sum_over_ranks(torch.ones(2)).tolist() == [1, 1]
    assert dist.gather_objects("a") == ["a"]
    model = torch.nn.Linear(1, 1)
    assert data_parallel.replicate(model, torch.device("cpu")) is model


@pytest.mark.parametrize(("sync_bn", "freeze_norms"), [(True, False), (False, True)])
def test_two_processes_with_half_the_batch_give_the_gradients_of_one(tmp_path, sync_bn, freeze_norms):
    jobs.save_gradients(tmp_path, sync_bn, freeze_norms)
    launch(partial(jobs.save_gradients, tmp_path, sync_bn, freeze_norms), num_gpus=0, processes=2)
    one, two = (torch.load(tmp_path / f"gradients-{n}.pt", weights_only=True) for n in (1, 2))
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name].double(), two[name].double(), atol=1e-6, rtol=1e-5), name


@pytest.mark.parametrize("num_frames", [1, 4])
def test_batch_norms_over_all_ranks_work_in_bf16_for_video_and_images(num_frames):
    launch(partial(jobs.train_a_step_in_bf16, num_frames), num_gpus=0, processes=2)


def test_spawned_ranks_hear_of_each_other_and_share_the_cores(tmp_path, monkeypatch):
    for name in ("OMP_NUM_THREADS", "PYTEST_XDIST_WORKER"):  # for which tests/__init__.py sets the other
        monkeypatch.delenv(name, raising=False)
    launch(partial(jobs.save_sums, tmp_path), num_gpus=0, processes=3)
    heard = [torch.load(tmp_path / f"heard-{rank}.pt", weights_only=True) for rank in range(3)]
    for one in heard:
        assert one["sum"] == 6
        assert one["objects"] == [("from", 0), ("from", 1), ("from", 2)]
        assert one["threads"] == max(1, os.cpu_count() // 3)


def test_torchruns_environment_is_taken_and_the_end_is_clean(tmp_path):
    code = (
        "import sys; from functools import partial; from pathlib import Path\n"
        "from tests.distributed import jobs; from slowfast_mlp.distributed.launch import launch\n"
        f"launch(partial(jobs.save_gradients, Path({str(tmp_path)!r}), True, False), num_gpus=0)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert ended.returncode == 0, ended.stderr
    assert "terminate called" not in ended.stderr
    assert (tmp_path / "gradients-2.pt").exists()


def test_a_users_mistake_in_spawned_processes_is_one_error():
    with pytest.raises(UserError, match="^this setting cannot be$"):
        launch(jobs.fail_as_a_user, num_gpus=0, processes=2)


def test_a_bug_in_one_rank_ends_all_with_its_traceback():
    with pytest.raises(RuntimeError, match="in fail_in_one_rank(?s:.*)KeyError: 'a bug of rank 1'"):
        launch(jobs.fail_in_one_rank, num_gpus=0, processes=2)


def test_more_gpus_than_there_are_is_refused():
    available = torch.cuda.device_count() or int(torch.backends.mps.is_available())
    with pytest.raises(UserError, match=rf"NUM_GPUS {available + 1}: this machine has {available}"):
        launch(jobs.fail_as_a_user, num_gpus=available + 1)


def test_several_machines_need_a_place_to_meet():
    with pytest.raises(UserError, match="NUM_SHARDS 2: give --init_method"):
        launch(jobs.fail_as_a_user, num_gpus=0, num_shards=2)


def test_two_shards_of_one_cpu_process_meet(tmp_path):
    port = _free_port()
    code = (
        "import sys; from functools import partial; from pathlib import Path\n"
        "from tests.distributed import jobs; from slowfast_mlp.distributed.launch import launch\n"
        "if __name__ == '__main__':\n"
        f"    launch(partial(jobs.save_sums, Path({str(tmp_path)!r})), num_gpus=0, num_shards=2,\n"
        f"           shard_id=int(sys.argv[1]), init_method='tcp://127.0.0.1:{port}')\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    both = [subprocess.Popen([sys.executable, str(script), str(shard)], env=environment) for shard in (0, 1)]
    assert [process.wait() for process in both] == [0, 0]
    assert torch.load(tmp_path / "heard-1.pt", weights_only=True)["objects"] == [("from", 0), ("from", 1)]


def test_an_exception_in_one_rank_is_shown_once_under_torchrun_and_ends_all(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from tests.distributed import jobs; from slowfast_mlp.distributed.launch import launch\n"
        "launch(jobs.fail_in_one_rank, num_gpus=0)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3", str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert ended.returncode == 1
    assert ended.stderr.count("KeyError: 'a bug of rank 1'\n") == 1
