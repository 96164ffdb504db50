"""A rank that is killed under torchrun: all start again, and go on from the last checkpoint."""

import json
import os
import signal
from pathlib import Path

from tests.faults.running import children, finish, start, steps_done, wait_until, words_of
from tests.test_run import weights

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
RUN_NET = str(Path(__file__).parents[2] / "tools" / "run_net.py")


def test_a_killed_rank_is_restarted_by_torchrun_and_the_run_goes_on(tmp_path, corpus):
    process = start([*TORCHRUN, "--max-restarts", "1", RUN_NET], words_of(tmp_path, corpus))
    wait_until(lambda: steps_done(tmp_path) >= 7, process)
    owner = json.loads((tmp_path / "out" / "run.lock").read_text())["pid"]  # rank 0's
    assert owner in children(process)
    os.kill(owner, signal.SIGKILL)
    status, printed, error = finish(process)
    assert status == 0, error
    assert "taking over" in error and "which has ended" in error
    resumed = printed.partition("resumed from ")[2]
    assert "epoch 1/4  step 1/" not in resumed
    assert "trained to epoch 4" in resumed
    assert weights(tmp_path / "out", 4)
