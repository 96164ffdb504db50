"""What is read of a run's folder, also of one that is not whole."""

import json
import os

import pytest

from slowfast_mlp.apps.report.run_dir import read_run
from slowfast_mlp.apps.report.write import write_report
from slowfast_mlp.errors import UserError


def metrics(folder, *lines):
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_a_run_is_read_whole(run_folder):
    run = read_run(str(run_folder))
    assert run.name == "out" and run.remarks == () and run.failed == ()
    assert run.settings["SOLVER.MAX_EPOCH"] == 1 and run.settings["MODEL.NAME"] == "morphmlp"
    assert [line["epoch"] for line in run.lines_of("train_epoch")] == [1]
    assert len(run.predictions.paths) == 7 and run.predictions.num_classes == 8
    assert run.environment["model"].startswith("morphmlp Nano")
    assert run.newest("test")["top1"] >= 0 and run.newest("nothing") == {}


def test_the_probabilities_of_a_test_are_the_softmax_of_its_scores(run_folder):
    confidences = read_run(str(run_folder)).predictions.confidences
    assert ((confidences > 1 / 8) & (confidences < 1)).all()


def test_a_folder_of_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run: neither metrics.jsonl with a line nor config.yaml"):
        read_run(str(tmp_path))


def test_lines_that_a_kill_cut_off_are_left_out_and_counted(tmp_path):
    metrics(tmp_path, {"kind": "val", "step": 3, "epoch": 1, "top1": 50.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "val", "st')
    run = read_run(str(tmp_path))
    assert len(run.metrics) == 1
    assert run.remarks == ("1 lines of metrics.jsonl are broken and left out.",)


def test_steps_become_epochs_also_where_epochs_differ_in_length(tmp_path):
    metrics(
        tmp_path,
        {"kind": "train", "step": 5, "epoch": 1, "loss": 4.0},
        {"kind": "train_epoch", "step": 10, "epoch": 1, "loss": 4.0},
        {"kind": "train", "step": 20, "epoch": 2, "loss": 3.0},
        {"kind": "train", "step": 30, "epoch": 2, "loss": None},
        {"kind": "train_epoch", "step": 30, "epoch": 2, "loss": 3.0},
        {"kind": "train", "step": 35, "epoch": 3, "loss": 2.0},
        {"kind": "val", "step": 30, "epoch": 2, "top1": 12.5},
    )
    run = read_run(str(tmp_path))
    assert run.curve("train", "loss", name="loss").points == [
        (0.5, 4.0),
        (1.5, 3.0),
        (2.0, None),
        (2.25, 2.0),
    ]
    assert run.curve("val", "top1", name="top-1", factor=2.0).points == [(2.0, 25.0)]


def test_the_first_epoch_is_drawn_while_it_is_under_way(tmp_path):
    metrics(tmp_path, *({"kind": "train", "step": step, "epoch": 1, "loss": 1.0} for step in (10, 20, 40)))
    points = read_run(str(tmp_path)).curve("train", "loss", name="loss").points
    assert [x for x, _ in points] == [0.25, 0.5, 1.0]


def test_the_config_that_was_written_last_counts(copied_run):
    text = (copied_run / "config.yaml").read_text().replace("MAX_EPOCH: 1", "MAX_EPOCH: 7")
    (copied_run / "test_config.yaml").write_text(text)
    os.utime(copied_run / "test_config.yaml", (1, 1))
    assert read_run(str(copied_run)).settings["SOLVER.MAX_EPOCH"] == 1
    os.utime(copied_run / "config.yaml", (0, 0))
    assert read_run(str(copied_run)).settings["SOLVER.MAX_EPOCH"] == 7


def test_settings_that_cannot_be_read_are_a_remark(copied_run):
    (copied_run / "config.yaml").write_text("NONSENSE: {KEY: 1}")
    run = read_run(str(copied_run))
    assert run.settings == {}
    assert "The settings cannot be read" in run.remarks[0] and "NONSENSE" in run.remarks[0]


def test_failed_videos_of_test_and_training_are_read(copied_run):
    (copied_run / "failed_videos.txt").write_text("a.mp4\t6 views missing\tno frames\n")
    (copied_run / "failed_train_videos.txt").write_text("b.mp4\t2 times\tcut off\n")
    assert read_run(str(copied_run)).failed == (
        ("test", "a.mp4", "6 views missing", "no frames"),
        ("training", "b.mp4", "2 times", "cut off"),
    )


def test_a_test_of_five_classes_and_fewer_has_no_top5_and_a_page_all_the_same(tmp_path):
    tested = {"checkpoint": "a.pyth", "views": "1 x 1 views"}
    metrics(tmp_path, {"kind": "test", "step": 1, "epoch": 1, "top1": 60.0, **tested})
    text = write_report(str(tmp_path)).path.read_text()
    assert "60.00 %" in text and "test top-1" in text and "top-5" not in text
