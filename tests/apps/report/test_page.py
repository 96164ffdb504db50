"""The page of a run: what it says, and that it needs nothing else."""

import csv
import re
import shutil
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slowfast_mlp.apps.report.after_run import report_run
from slowfast_mlp.apps.report.write import write_comparison, write_report
from slowfast_mlp.run.main import run
from tests.conftest import main_of


def headings(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_a_page_has_all_parts_of_a_run(page):
    text = page.read_text()
    assert headings(text) == [
        "Settings",
        "Curves",
        "Test",
        "What the model looks at",
        "Videos that could not be decoded",
        "Environment",
    ]
    for title in ("Loss", "Learning rate", "Throughput", "Data wait", "Calibration", "Confusion matrix"):
        assert f"<h3>{title}</h3>" in text
    assert len(re.findall('src="data:image/jpeg;base64,', text)) >= 6  # frames of as many videos
    assert "Chunk" not in headings(text) and 'alt="maps of blocks1.0.t_fc"' in text


def test_settings_that_were_changed_come_first_with_their_defaults(page):
    first, rest = page.read_text().split("<details>", 1)
    assert "<td>MODEL.<wbr>VARIANT</td><td>Nano</td>" in first
    assert "<td>SOLVER.<wbr>MAX_<wbr>EPOCH</td><td>1</td><td>60</td>" in first
    assert "DATA.<wbr>DECODER" not in first and "DATA.<wbr>DECODER" in rest


def test_a_page_asks_for_nothing_from_outside(page):
    text = page.read_text()
    assert set(re.findall(r'(?:src|href)="([a-z]+:)', text)) == {"data:"}
    assert "<script" not in text and "@import" not in text and "url(" not in text


def test_names_cannot_become_html(copied_run):
    file = copied_run / "predictions.csv"
    file.write_text(file.read_text().replace(",left", ",<b>left</b>"))
    text = write_report(str(copied_run), max_seconds=0).path.read_text()
    assert "&lt;b&gt;left" in text and "<b>left" not in text


def test_without_the_checkpoint_the_page_says_that_there_are_no_frames(copied_run):
    path = copied_run / "metrics.jsonl"
    path.write_text(path.read_text().replace("checkpoint_epoch_00001", "gone"))
    text = write_report(str(copied_run), device="cpu").path.read_text()
    assert "No frames are shown, for the model cannot be had" in text and "gone.pyth" in text
    assert "<h3>Confusion matrix</h3>" in text


def test_videos_that_are_gone_are_named_and_the_others_shown(copied_run, tmp_path):
    file = copied_run / "predictions.csv"
    lines = file.read_text().splitlines()
    there = lines[1].split(",")[0]
    moved = [lines[0], lines[1], *(line.replace(line.split(",")[0], "/gone.mp4") for line in lines[2:])]
    file.write_text("\n".join(moved) + "\n")
    text = write_report(str(copied_run), device="cpu").path.read_text()
    assert "/gone.mp4" in text.split("What the model looks at")[1]
    assert (f"frames of {there}" in text) == (lines[1].split(",")[1] != lines[1].split(",")[3])


def test_a_run_of_five_classes_or_fewer_has_a_page_without_top5(copied_run):
    path = copied_run / "metrics.jsonl"
    path.write_text(re.sub(r'"top5": [0-9.]+, ', "", path.read_text()))
    text = write_report(str(copied_run), max_seconds=0).path.read_text()
    assert "test top-1" in text and "top-5" not in text


def test_an_accuracy_that_is_alone_says_whose_it_is(copied_run):
    path = copied_run / "metrics.jsonl"
    lines = [re.sub(r'"top[15]": [0-9.]+, ', "", line) if '"train' in line else line for line in path.open()]
    path.write_text(re.sub(r'"top5": [0-9.]+, ', "", "".join(lines)))
    text = write_report(str(copied_run), max_seconds=0).path.read_text()
    (chart,) = re.findall("<h3>Accuracy</h3>.*?</figure>", text, re.DOTALL)
    assert "</svg>validation top-1" in chart


def test_a_test_without_a_mistake_shows_its_first_videos_and_says_so(copied_run, checkpoint):
    with (copied_run / "predictions.csv").open(newline="") as file:
        rows = [row | {"class1": row["label"]} for row in csv.DictReader(file)]
    with (copied_run / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows[:1])
    path = copied_run / "metrics.jsonl"
    path.write_text(re.sub(r'"checkpoint": "[^"]*"', f'"checkpoint": "{checkpoint}"', path.read_text()))
    text = write_report(str(copied_run), device="cpu").path.read_text()
    assert "Frames of the first videos, as no mistake was made, and below each" in text
    assert "confident mistakes" not in text


def test_a_training_without_a_test_has_a_page_too(copied_run):
    (copied_run / "predictions.csv").unlink()
    text = write_report(str(copied_run)).path.read_text()
    assert "Test" not in headings(text) and "What the model looks at" not in headings(text)
    assert "<h3>Loss</h3>" in text


def test_failed_videos_are_listed(copied_run):
    (copied_run / "failed_videos.txt").write_text("a.mp4\t6 views missing\tno frames\n")
    text = write_report(str(copied_run), max_seconds=0).path.read_text()
    assert "<td>a.<wbr>mp4</td><td>6 views missing</td><td>no frames</td>" in text


def test_runs_are_compared_by_results_curves_and_the_settings_that_differ(run_folder, copied_run, tmp_path):
    config = copied_run / "config.yaml"
    config.write_text(config.read_text().replace("BASE_LR: 0.001", "BASE_LR: 0.004"))
    write_comparison([str(run_folder), str(copied_run)], tmp_path / "compared.html")
    text = (tmp_path / "compared.html").read_text()
    assert headings(text) == ["Results", "Settings that differ", "Curves"]
    assert "<td>SOLVER.<wbr>BASE_<wbr>LR</td><td>0.001</td><td>0.004</td>" in text
    assert "MAX_<wbr>EPOCH" not in text
    # A run looks the same in all figures, also where another has no such line.
    assert "<h3>Accuracy: validation top-1</h3>" in text
    keys = re.findall(r'(style="stroke:var\(--c\d\)" stroke-dasharray="[^"]+")/></svg>(\w+)</span>', text)
    assert {name: {look for look, other in keys if other == name} for name in ("out", "copy")} == {
        "out": {'style="stroke:var(--c0)" stroke-dasharray="none"'},
        "copy": {'style="stroke:var(--c1)" stroke-dasharray="6 3"'},
    }


def test_runs_in_folders_of_one_name_go_by_their_paths(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "out", ignore=shutil.ignore_patterns("checkpoints"))
    write_comparison([str(run_folder), str(tmp_path / "out")], tmp_path / "compared.html")
    text = (tmp_path / "compared.html").read_text()
    assert f"{tmp_path / 'out'}</span>" in text
    assert "Their settings are the same." in text


@pytest.fixture
def report(capsys):
    """Runs tools/report.py; returns status, output and error."""

    def report(*words):
        status = main_of("report")([*map(str, words)])
        return status, *capsys.readouterr()

    return report


def test_the_tool_writes_into_the_folder_of_the_run_and_says_where(report, copied_run):
    status, printed, _ = report(copied_run, "--no-frames")
    assert (status, printed) == (0, f"{copied_run / 'report.html'}\n")
    assert (copied_run / "report.html").is_file()


def test_the_tool_compares(report, run_folder, copied_run, tmp_path):
    status, printed, _ = report("--compare", run_folder, copied_run, "--out", tmp_path / "c.html")
    assert (status, printed) == (0, f"{tmp_path / 'c.html'}\n")


def test_the_tool_names_a_folder_of_no_run(report, tmp_path):
    status, _, error = report(tmp_path)
    assert status == 2 and f"error: {tmp_path} holds no run" in error


def test_the_tool_says_which_video_it_looks_at(report, copied_run, checkpoint, caplog):
    path = copied_run / "metrics.jsonl"
    found = re.search(r'"checkpoint": "([^"]*checkpoint_epoch_00001[^"]*)"', path.read_text())[1]
    path.write_text(path.read_text().replace(found, checkpoint))
    caplog.set_level("INFO")
    first = (copied_run / "predictions.csv").read_text().splitlines()[1].split(",")[0]
    status, printed, _ = report(copied_run, "--device", "cpu", "--out", copied_run / "b.html")
    assert (status, printed) == (0, f"{copied_run / 'b.html'}\n")
    assert "looking at video 1 of " in caplog.text and Path(first).parent.as_posix() in caplog.text


def test_the_tool_refuses_a_device_that_is_not_there(report, copied_run):
    status, printed, error = report(copied_run, "--device", "gpu")
    assert (status, printed) == (2, "") and "There is no device 'gpu': use auto, cpu" in error


def test_a_run_ends_with_its_page_and_pictures_in_tensorboard(configure, checkpoint, tmp_path):
    run(
        configure(
            *("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", checkpoint),
            *("REPORT.ENABLE", "True", "TENSORBOARD.ENABLE", "True"),
        ),
        report_run=report_run,
    )
    text = (tmp_path / "out" / "report.html").read_text()
    assert "What the model looks at" in headings(text)
    assert f"report {tmp_path / 'out' / 'report.html'}" in (tmp_path / "out" / "stdout.log").read_text()
    board = EventAccumulator(str(tmp_path / "out" / "tensorboard"), size_guidance={"images": 0})
    board.Reload()
    assert {"report/confusion", "report/video 1"} <= set(board.Tags()["images"])
    (settings,) = board.Tensors("settings/text_summary")
    assert b"| MODEL.VARIANT | Nano |" in settings.tensor_proto.string_val[0]
    assert board.Scalars("hparam/test_top1")[0].value == board.Scalars("test/top1")[0].value
    assert b"MODEL.VARIANT" in board.SummaryMetadata("_hparams_/session_start_info").plugin_data.content


def test_a_report_that_cannot_be_written_is_a_warning_and_the_run_is_whole(configure, checkpoint, tmp_path):
    (tmp_path / "out" / "report.html").mkdir(parents=True)
    run(
        configure(
            *("TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", checkpoint, "REPORT.ENABLE", "True")
        ),
        report_run=report_run,
    )
    log = Path(tmp_path / "out" / "stdout.log").read_text()
    assert "WARNING the run is over and saved, but its report could not be written" in log
    assert (tmp_path / "out" / "predictions.csv").is_file()
