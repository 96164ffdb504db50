"""Files written in the background: one after the other, and no error is lost."""

import threading

import pytest

from slowfast_mlp.checkpoint.async_writer import AsyncWriter
from slowfast_mlp.errors import UserError


def test_a_job_runs_while_its_caller_goes_on_and_the_next_one_after_it():
    writer, may_go_on, done = AsyncWriter(), threading.Event(), []
    writer.submit(lambda: may_go_on.wait(10) and done.append(1))
    assert done == []
    may_go_on.set()
    writer.submit(lambda: done.append(2))
    writer.wait()
    assert done == [1, 2]


def test_the_error_of_a_job_comes_out_at_the_next_call_and_once():
    def fail():
        raise UserError("OUTPUT_DIR is full")

    writer, done = AsyncWriter(), []
    writer.submit(fail)
    with pytest.raises(UserError, match="OUTPUT_DIR is full"):
        writer.submit(lambda: done.append(1))
    assert done == [] and not writer.has_failed
    writer.wait()
