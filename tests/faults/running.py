"""Runs of run_net in processes of their own, to be interrupted."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import simplejson

from tests.conftest import ROOT, TINY
from tests.test_run import FULL

# 5 steps an epoch, 4 epochs, a checkpoint and a line after every step.
LONG = [*FULL, "TRAIN.BATCH_SIZE", "2", "SOLVER.MAX_EPOCH", "4", "LOG_PERIOD", "1"]
LONG += ["TRAIN.CHECKPOINT_PERIOD_STEPS", "1"]
NUM_STEPS = 20
RUN_NET = [str(ROOT / "tools" / "run_net.py")]
PATIENCE_SEC = 200


def words_of(folder: Path, corpus: Path) -> list[str]:
    """The command line of a long run that writes into folder / out."""
    (folder / "tiny.yaml").write_text(TINY)
    places = ["DATA.PATH_TO_DATA_DIR", str(corpus), "OUTPUT_DIR", str(folder / "out"), "NUM_GPUS", "0"]
    return ["--cfg", str(folder / "tiny.yaml"), *places, *LONG]


def start(program: list[str], words: list[str]) -> subprocess.Popen:
    """A run in a session of its own, so that all of its processes can be signalled together."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, *program, *words]
    return subprocess.Popen(command, env=environment, start_new_session=True, text=True, **pipes)


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Status, output and error of a run that ends by itself."""
    printed, error = process.communicate(timeout=PATIENCE_SEC)
    return process.returncode, printed, error


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    """Returns as soon as a condition holds; fails if the run ends before."""
    give_up = time.monotonic() + PATIENCE_SEC
    while not condition():
        if process.poll() is not None:
            raise AssertionError(f"the run ended by itself: {process.communicate()}")
        if time.monotonic() > give_up:
            raise AssertionError("nothing happened")
        time.sleep(0.001)


def steps_done(folder: Path) -> int:
    """The last step of the run that metrics.jsonl tells of in whole lines."""
    path = folder / "out" / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    records = map(simplejson.loads, text[: text.rfind("\n") + 1].splitlines())
    return max((record["step"] for record in records if record["kind"] == "train"), default=0)


def children(process: subprocess.Popen) -> list[int]:
    """The processes that a process has started."""
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in pids]
