"""The files of a run."""

import io
import logging
import os
import resource
import signal
import sys
from contextlib import contextmanager

import pytest
import simplejson
from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.data.provider import ListHyperparametersResult
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from slowfast_mlp.distributed.signals import StopSignals
from slowfast_mlp.errors import Stopped, UserError
from slowfast_mlp.log.run_log import RunLog, format_duration


def test_metrics_have_full_precision_and_stats_pyslowfasts_form(tmp_path, capsys):
    with RunLog(str(tmp_path), enabled=True, tensorboard=True) as log:
        log.info("hello")
        log.metrics("train", step=3, loss=0.1 + 0.2, lr=2e-4, bad=float("nan"))
        log.json_stats(epoch_level=False, _type="train_iter", lr=2e-4)
        log.json_stats(epoch_level=True, split="test_final", top1_acc="80.83")
        logging.getLogger("slowfast_mlp.anything").warning("careful")
    line = simplejson.loads((tmp_path / "metrics.jsonl").read_text())
    assert line == dict(kind="train", step=3, loss=0.30000000000000004, lr=0.0002, bad=None)
    text = (tmp_path / "stdout.log").read_text()
    assert 'json_stats: {"_type": "train_iter", "lr": 0.0002}\n' in text
    assert " INFO hello\n" in text and " WARNING careful\n" in text
    assert (
        tmp_path / "json_stats.log"
    ).read_text() == 'json_stats: {"split": "test_final", "top1_acc": "80.83"}\n'
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    assert capsys.readouterr().out == "hello\nwarning: careful\n"


def test_a_second_run_goes_on_in_the_same_files(tmp_path):
    for step in (1, 2):
        with RunLog(str(tmp_path), enabled=True, tensorboard=False) as log:
            log.metrics("train", step=step)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [simplejson.loads(line)["step"] for line in lines] == [1, 2]
    assert not (tmp_path / "tensorboard").exists()


def test_other_ranks_are_silent(tmp_path, capsys):
    with RunLog(str(tmp_path / "none"), enabled=False, tensorboard=True) as log:
        log.info("hello")
        log.metrics("train", step=1)
        log.json_stats(epoch_level=True)
    assert not (tmp_path / "none").exists() and capsys.readouterr().out == ""


def test_durations_are_hours_minutes_seconds():
    assert [format_duration(sec) for sec in (0, 59.9, 3600, 90061)] == [
        "0:00:00",
        "0:00:59",
        "1:00:00",
        "25:01:01",
    ]


def hparams_tab(folder):
    """What TensorBoard's own HPARAMS tab has for the runs in a folder: settings with whether they differ, and
    the run, settings and last figures of every row.
    """
    events = EventMultiplexer().AddRunsFromDirectory(str(folder))
    events.Reload()
    board = TBContext(logdir=str(folder), data_provider=MultiplexerDataProvider(events, str(folder)))
    request, tab = context.RequestContext(), backend_context.Context(board)
    none = ListHyperparametersResult(hyperparameters=[], session_groups=[])
    found = tab.experiment_from_metadata(request, "", True, tab.hparams_metadata(request, ""), none)
    all_of_it = api_pb2.ListSessionGroupsRequest(slice_size=10, allowed_statuses=[0, 1, 2, 3])
    rows = list_session_groups.Handler(request, tab, "", all_of_it).run().session_groups
    return [(setting.name, setting.differs) for setting in found.hparam_infos], {
        row.sessions[0].name: (dict(row.hparams), {m.name.tag: m.value for m in row.metric_values})
        for row in rows
    }


def test_tensorboard_compares_runs_by_all_their_settings_and_what_they_came_to(tmp_path):
    for name, base_lr in (("a", 0.1), ("b", 0.2)):
        compared = {"MODEL.ARGS": {"drop_path": 0.1}, "SOLVER.BASE_LR": base_lr}
        with RunLog(str(tmp_path / name), enabled=True, tensorboard=True, compared=compared) as log:
            log.outcome({"best_top1": 100 * base_lr, "final_top1": 100 * base_lr}, step=5)
            log.outcome({"best_top1": 100 * base_lr, "final_top1": 4}, step=9)
        assert len(list((tmp_path / name / "tensorboard").iterdir())) == 1
    settings, runs = hparams_tab(tmp_path)
    assert settings == [("SOLVER.BASE_LR", True), ("MODEL.ARGS", False)]
    assert set(runs) == {"a/tensorboard", "b/tensorboard"}
    hparams, figures = runs["b/tensorboard"]
    assert hparams["SOLVER.BASE_LR"].number_value == 0.2
    assert hparams["MODEL.ARGS"].string_value == "{'drop_path': 0.1}"
    assert figures == {"hparam/best_top1": 20, "hparam/final_top1": 4}


@contextmanager
def room_for(num_bytes):
    """No file grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("metrics.jsonl", lambda log: log.metrics("train", step=1, loss=1.0)),
        ("stdout.log", lambda log: log.info("hello" * 10)),
        ("stdout.log", lambda log: log.json_stats(epoch_level=False, loss=1.0)),
    ],
)
def test_a_file_that_there_is_no_room_for_is_named_with_the_way_out(tmp_path, capsys, name, write):
    with (
        pytest.raises(UserError, match=rf"/{name} cannot be written \(File too large\)\. Make room or"),
        RunLog(str(tmp_path), enabled=True, tensorboard=False) as log,
        room_for(10),
    ):
        write(log)


def test_a_line_of_another_part_that_was_not_written_is_raised_at_the_next_of_the_loop(tmp_path, capsys):
    with (
        room_for(10),
        pytest.raises(UserError, match=r"stdout\.log cannot be written"),
        RunLog(str(tmp_path), enabled=True, tensorboard=False) as log,
    ):
        logging.getLogger("slowfast_mlp.anything").warning("a worker died")
        log.metrics("train", step=1)
    assert capsys.readouterr().out == "warning: a worker died\n"


def test_what_ended_a_run_is_told_though_there_is_no_room_to_log_it(tmp_path, capsys):
    with (
        pytest.raises(UserError, match="the first mistake"),
        room_for(10),
        RunLog(str(tmp_path), enabled=True, tensorboard=False),
    ):
        raise UserError("the first mistake")


class Interrupting(io.StringIO):
    """A terminal on which every line is interrupted by a signal to stop."""

    def write(self, text):
        os.kill(os.getpid(), signal.SIGTERM)
        return super().write(text)


def test_a_signal_in_the_middle_of_a_line_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Interrupting())
    with (
        pytest.raises(Stopped, match="stopped by SIGTERM"),
        StopSignals(),
        RunLog(str(tmp_path), enabled=True, tensorboard=False) as log,
    ):
        log.info("hello")


def test_a_run_goes_on_when_nobody_looks_on_any_more(tmp_path, monkeypatch, capsys):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with RunLog(str(tmp_path), enabled=True, tensorboard=False) as log:
            log.info("first")
            log.info("second")
            log.info("third")
        monkeypatch.undo()
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "stdout.log").read_text().splitlines()]
    reason = (
        "standard output takes no more (Broken pipe); the run goes on, and says what it does in stdout.log"
    )
    assert sorted(lines) == sorted(["INFO first", f"WARNING {reason}", "INFO second", "INFO third"])
    assert capsys.readouterr().err == ""


def test_a_quiet_run_shows_warnings_alone_and_writes_all(tmp_path, capsys):
    with RunLog(str(tmp_path), enabled=True, tensorboard=False, quiet=True) as log:
        log.info("first")
        logging.getLogger("slowfast_mlp.data").warning("a video is damaged")
    assert capsys.readouterr().out == "warning: a video is damaged\n"
    assert "INFO first" in (tmp_path / "stdout.log").read_text()
