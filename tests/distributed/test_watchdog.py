"""Runs that stand still: found, explained and ended."""

import os
import subprocess
import sys
from functools import partial

import pytest

from slowfast_mlp.distributed import rank_checks
from slowfast_mlp.distributed import watchdog as dogs
from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.distributed.watchdog import RankReport, Watchdog, explain, waited_for
from slowfast_mlp.errors import UserError
from tests.conftest import ROOT
from tests.distributed import jobs

IN_EXCHANGE = (
    '  File "/code/run/train.py", line 70, in train\n',
    '  File "/lib/torch/distributed/distributed_c10d.py", line 3012, in all_reduce\n    work.wait()\n',
)
IN_DATA = ('  File "/code/data/sources.py", line 12, in open_record\n    open(path)\n',)


def report(rank, stack=IN_EXCHANGE, **changed):
    usual = dict(rank=rank, host=f"n{rank}", place="training epoch 1", step=7, seconds=12.3, stack=stack)
    return RankReport(**(usual | changed))


def test_a_rank_that_does_not_answer_is_waited_for():
    assert waited_for([report(0), report(1, stack=()), report(2, stack=IN_DATA)]) == [1]


def test_a_rank_that_is_in_no_exchange_is_waited_for_by_those_that_are():
    assert waited_for([report(0), report(1, stack=IN_DATA), report(2)]) == [1]


def test_of_ranks_that_all_wait_those_behind_are_waited_for():
    assert waited_for([report(0, step=8), report(1), report(2, step=8)]) == [1]
    assert waited_for([report(0), report(1)]) == []


def test_the_explanation_has_a_line_a_rank_and_the_stack_that_matters():
    text = explain([report(0), report(1, stack=IN_DATA, step=6)], limit_sec=10.0)
    assert text.splitlines() == [
        "the run stands still: 12 s at one place, WATCHDOG_SEC is 10",
        "rank  host  place             step  seconds  at",
        "0     n0    training epoch 1  7     12       distributed/distributed_c10d.py:3012 all_reduce",
        "1     n1    training epoch 1  6     12       data/sources.py:12 open_record",
        "rank 0 waited for rank 1",
        "stack of rank 1 on n1, the innermost call last:",
        '  File "/code/data/sources.py", line 12, in open_record',
        "    open(path)",
    ]


def test_a_watched_loader_gives_the_same_batches_and_tells_where_it_is():
    dog = Watchdog(rank=0, world_size=1, host="here", limit_sec=None, store=None)
    loader = dog.watch(["a", "b"], "training epoch 2", first_step=5)
    assert len(loader) == 2
    seen = [(batch, dog._now[:2]) for batch in loader]
    assert seen == [("a", ("training epoch 2", 6)), ("b", ("training epoch 2", 7))]
    assert dog._now[:2] == ("after training epoch 2", None)


def test_a_rank_that_sleeps_is_named_with_its_stack_and_the_run_ends(capfd):
    with pytest.raises(UserError, match="The run stood still and was ended"):
        launch(partial(jobs.wait_for_a_rank_that_sleeps, 3.0), num_gpus=0, processes=2)
    said = capfd.readouterr().err
    assert said.count("the run stands still") == 1
    assert "rank 0 waited for rank 1" in said
    assert "jobs.py" in said.partition("stack of rank 1")[2] and "in oversleep" in said
    assert "training epoch 1  2 " in said


def test_a_rank_that_is_stopped_does_not_answer_and_is_named(capfd):
    with pytest.raises(UserError, match="The run stood still and was ended"):
        launch(partial(jobs.wait_for_a_rank_that_is_stopped, 3.0), num_gpus=0, processes=2)
    said = capfd.readouterr().err
    assert "rank 0 waited for rank 1" in said
    assert "does not answer" in said


def test_a_rank_that_hears_nothing_of_anothers_failure_is_ended(capfd):
    with pytest.raises(RuntimeError, match="KeyError: 'a bug of rank 1'"):
        launch(jobs.fail_while_another_does_not_listen, num_gpus=0, processes=2)


def end_of(code):
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


START = (
    "import time, logging; from slowfast_mlp.distributed.watchdog import Watchdog\n"
    "with Watchdog(rank=0, world_size=1, host='here', limit_sec=1.0, store=None) as dog:\n"
)


def test_a_single_process_that_stands_still_is_ended_with_its_stack():
    ended = end_of(START + "    dog.note('training epoch 1', 3); time.sleep(100)\n")
    assert ended.returncode == dogs.HANG_STATUS
    assert "0     here  training epoch 1  3 " in ended.stderr
    assert "stack of rank 0 on here" in ended.stderr


def test_native_code_that_never_lets_python_go_on_is_ended_too():
    # PyDLL keeps the interpreter's lock while the C function sleeps: no thread of Python runs.
    stuck = (
        "    import ctypes; dog.note('training epoch 1', 3); time.sleep(0.6); ctypes.PyDLL(None).sleep(100)\n"
    )
    ended = end_of(START + stuck)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr and "in <module>" in ended.stderr


def test_nothing_is_limited_before_the_first_note_and_after_the_end():
    ended = end_of(START + "    time.sleep(2)\ntime.sleep(2)\n")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_every_rank_gets_the_table_of_the_preflight(tmp_path):
    launch(partial(jobs.tell_of_the_ranks, tmp_path), num_gpus=0, processes=2)
    tables = [(tmp_path / f"table-{rank}.txt").read_text() for rank in range(2)]
    assert tables[0] == tables[1]
    title, *rows = tables[0].splitlines()
    assert title.split() == [*("rank", "host", "pid", "device", "torch", "cuda", "python", "slowfast_mlp")]
    assert [row.split()[0] for row in rows] == ["0", "1"]
    assert rank_checks.preflight(jobs.CPU) == ""
