"""tools/benchmark.py, end to end in its quick form."""

import json

import pytest

from tests.conftest import main_of


@pytest.fixture
def benchmark(capsys):
    """Runs the tool; returns status, output and error."""

    def benchmark(*words):
        status = main_of("benchmark")(list(map(str, words)))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return benchmark


def tables_of(path):
    return {table["title"]: table for table in json.loads(path.read_text())["tables"]}


def test_the_section_data_compares_our_loader_with_the_plain_way(benchmark, tmp_path):
    pytest.importorskip("decord")
    status, out, _ = benchmark("data", "--quick", "--json", tmp_path / "data.json")
    assert status == 0
    assert "| loader " in out and "x plain" in out and "load average" in out
    tables = tables_of(tmp_path / "data.json")
    rows = {
        row[0]: row for row in tables["Kinetics-like, h264 340x256, 10 s, a keyframe in 250 frames"]["rows"]
    }
    assert set(rows) == {
        "plain way", "exact", "fused", "device, the host's part", "bare decoder", "fused, by decord",
        "device, all on this CPU",
    }  # fmt: skip
    assert rows["plain way"][6] == 1
    assert {"Testing with 4x1 views", "Testing with 1x3 views"} <= set(tables)
    counts = tables["Counts: Kinetics-like, h264 340x256, 10 s, a keyframe in 250 frames"]["rows"]
    assert [row[2] for row in counts] == [64, 16, 16, 16]


def test_the_section_data_measures_the_videos_of_a_list(benchmark, corpus, tmp_path):
    words = ("--list", corpus / "train.csv", "--videos", 2, "--json", tmp_path / "list.json")
    status, out, _ = benchmark("data", "--quick", *words)
    assert status == 0
    assert "videos of the list" in tables_of(tmp_path / "list.json")
    assert "give --model NAME VARIANT" in out


def test_a_list_without_a_video_that_can_be_decoded_is_an_error(benchmark, tmp_path):
    (tmp_path / "list.csv").write_text("missing.mp4 0\n")
    status, _, err = benchmark("data", "--quick", "--list", tmp_path / "list.csv")
    assert status == 2
    assert "none of 8 videos can be decoded" in err and "missing.mp4" in err


def test_the_section_step_compares_the_training_loop_with_a_bare_one(benchmark, tmp_path):
    words = ("--quick", "--steps", 2, "--fake-data", "--json", tmp_path / "step.json")
    status, out, err = benchmark("step", *words)
    assert status == 0
    assert "The host waited for the device 1 times in 2 steps, 1 of which wrote a line" in out
    assert "epoch 1/1" in err and "epoch 1/1" not in out  # lines of the run are not the table
    loops, parts = tables_of(tmp_path / "step.json").values()
    assert [row[0] for row in loops["rows"]] == ["bare loop", "training loop"]
    assert [row[0] for row in parts["rows"]] == [
        "data wait", "to device", "targets, mix", "forward", "loss, backward", "optimiser", "sums",
    ]  # fmt: skip
    shares = [float(row[2]) for row in parts["rows"]]
    assert sum(shares) == pytest.approx(100, abs=0.1)
    assert min(shares[3:6]) > 0


def test_an_unknown_section_is_answered_with_those_there_are(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark("speed")
    assert "'data'" in capsys.readouterr().err
