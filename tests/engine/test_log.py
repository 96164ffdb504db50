"""The files of a run."""

import logging

import simplejson

from slowfast_mlp.engine.log import RunLog, duration


def test_metrics_have_full_precision_and_stats_pyslowfasts_form(tmp_path, capsys):
    with RunLog(str(tmp_path), enabled=True, tensorboard=True) as log:
        log.say("hello")
        log.metrics("train", step=3, loss=0.1 + 0.2, lr=2e-4, bad=float("nan"))
        log.json_stats(epoch_level=False, _type="train_iter", lr=2e-4)
        log.json_stats(epoch_level=True, split="test_final", top1_acc="80.83")
        logging.getLogger("slowfast_mlp.anything").warning("careful")
    assert simplejson.loads((tmp_path / "metrics.jsonl").read_text()) == {
        "kind": "train", "step": 3, "loss": 0.30000000000000004, "lr": 0.0002, "bad": None
    }  # fmt: skip
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
        log.say("hello")
        log.metrics("train", step=1)
        log.json_stats(epoch_level=True)
    assert not (tmp_path / "none").exists() and capsys.readouterr().out == ""


def test_durations_are_hours_minutes_seconds():
    assert [duration(s) for s in (0, 59.9, 3600, 90061)] == ["0:00:00", "0:00:59", "1:00:00", "25:01:01"]
