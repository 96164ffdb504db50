"""tools/visualize.py as a user runs it."""

import csv
import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.source import open_record
from tests.conftest import ROOT, main_of


@pytest.fixture
def analyse(capsys):
    """Runs the tool; returns status, output and error."""

    def analyse(*words):
        status = main_of("visualize")([*map(str, words)])
        return status, *capsys.readouterr()

    return analyse


def test_a_video_gives_a_strip_a_video_and_maps_of_the_layers(analyse, checkpoint, write_numbered, tmp_path):
    path = write_numbered("a.mp4", 40)
    status, _, _ = analyse(path, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--device", "cpu")
    assert status == 0
    out = tmp_path / "out"
    assert sorted(file.name for file in out.iterdir()) == ["a.mp4", "a.png", "layers"]
    with Image.open(out / "a.png") as strip:
        assert strip.width > 4 * 128  # 4 frames side by side
    with open_record(Record(str(out / "a.mp4"), 0), "pyav") as video:
        assert video.num_frames == 4
    names = {file.name for file in (out / "layers").iterdir()}
    assert {"blocks1.0.t_fc_1.png", "blocks1.0.fc_1.png", "blocks1.0.fc_2.png", "stage_4_1.png"} <= names


def test_a_class_can_be_asked_for_by_name_or_number(analyse, checkpoint, write_numbered, tmp_path):
    words = [write_numbered("a.mp4", 40), "--checkpoint", checkpoint, "--device", "cpu", "--out", tmp_path]
    pictures = []
    for label in ("growing", "7", "left"):
        assert analyse(*words, "--label", label)[0] == 0
        pictures.append(Path(tmp_path / "a.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]
    status, _, error = analyse(*words, "--label", "jumping")
    assert status == 2 and "--label 'jumping' is no class of the model" in error


def test_what_cannot_be_read_is_named_and_the_rest_drawn(analyse, checkpoint, write_numbered, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    status, _, error = analyse(
        tmp_path / "broken.mp4", write_numbered("a.mp4", 40), "--checkpoint", checkpoint, "--out",
        tmp_path / "out", "--device", "cpu", "--baseline", "still",
    )  # fmt: skip
    assert status == 1 and "broken.mp4 cannot be read" in error
    assert (tmp_path / "out" / "a.png").is_file()


def test_a_stream_is_refused(analyse, checkpoint, tmp_path):
    status, _, error = analyse("pipe:0", "--checkpoint", checkpoint, "--out", tmp_path, "--device", "cpu")
    assert status == 2 and "A stream cannot be drawn" in error


def test_what_was_made_of_predictions_is_said(analyse, run_folder, tmp_path, caplog):
    caplog.set_level("INFO", logger="slowfast_mlp")
    analyse("--predictions", run_folder / "predictions.csv", "--out", tmp_path)
    assert f"{tmp_path}/test.html, with confusion.png and three tables next to it" in caplog.text


def test_predictions_give_tables_a_matrix_and_a_page(analyse, run_folder, tmp_path):
    status, _, _ = analyse("--predictions", run_folder / "predictions.csv", "--out", tmp_path / "out")
    assert status == 0
    out = tmp_path / "out"
    names = ["classes.csv", "confusion.png", "mistakes.csv", "pairs.csv", "test.html"]
    assert sorted(file.name for file in out.iterdir()) == names
    with (run_folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    wrong = [row for row in rows if row["label"] != row["class1"]]
    with (out / "mistakes.csv").open() as file:
        mistakes = list(csv.DictReader(file))
    assert {row["path"] for row in mistakes} == {row["path"] for row in wrong}
    shares = [float(row["probability"]) for row in mistakes]
    assert shares == sorted(shares, reverse=True)
    with (out / "classes.csv").open() as file:
        assert sum(int(row["right"]) for row in csv.DictReader(file)) == len(rows) - len(wrong)


def test_the_tool_says_what_it_needs(analyse, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        analyse("--out", tmp_path)
    assert "--predictions FILE" in capsys.readouterr().err


def test_the_commands_of_the_documentation_run(
    run_folder, checkpoint, write_numbered, tmp_path, monkeypatch, capsys
):
    commands = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "report.md").read_text(), re.DOTALL)
    assert len(commands) == 4
    for name in ("run", "other"):
        shutil.copytree(run_folder, tmp_path / "output" / name, ignore=shutil.ignore_patterns("checkpoints"))
    (tmp_path / "clip.mp4").symlink_to(write_numbered("a.mp4", 40))
    (tmp_path / "checkpoint_epoch_00016.pyth").symlink_to(checkpoint)
    monkeypatch.chdir(tmp_path)
    for command in commands:
        python, tool, *words = shlex.split(command)
        assert python == "python"
        assert main_of(Path(tool).stem)(words) == 0, capsys.readouterr().err
    for name in ("output/run/report.html", "compared.html", "pictures/clip.png", "mistakes/test.html"):
        assert (tmp_path / name).is_file(), name


def test_pictures_are_not_written_over_the_videos(analyse, checkpoint, write_numbered, tmp_path):
    path = shutil.copy(write_numbered("a.mp4", 20), tmp_path / "a.mp4")
    before = path.read_bytes()
    status, _, error = analyse(path, "--checkpoint", checkpoint, "--out", tmp_path, "--device", "cpu")
    assert status == 2 and f"{path} is one of the videos, which would be lost" in error
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"] and path.read_bytes() == before
