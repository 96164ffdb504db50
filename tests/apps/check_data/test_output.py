"""How tools/check_data.py says what it found: report, skip list, JSON, and quietly."""

import csv
import json
import subprocess
import sys

from tests.conftest import ROOT, TINY


def test_the_report_has_a_line_for_every_video_and_the_skip_list_the_unreadable_ones(check, videos):
    report, skipped = videos / "report.csv", videos / "skip.txt"
    lists = {"train": "whole0.mp4 0\nempty.mp4 9\nempty.mp4 9\n"}
    _, output, _ = check(lists, "--split", "train", "--report", report, "--write-skip-list", skipped)
    assert f"every video is in {report}" in output
    rows = list(csv.DictReader(report.open(newline="")))
    assert [rows[0][name] for name in ("split", "path", "label", "num_frames", "fps", "codec")] == [
        "train", f"{videos}/whole0.mp4", "0", "40", "30.0", "h264",
    ]  # fmt: skip
    assert [row["findings"] for row in rows] == [
        "",
        "empty: has no bytes; label: label 9; MODEL.NUM_CLASSES 8 allows 0 to 7",
        "empty: has no bytes; label: label 9; MODEL.NUM_CLASSES 8 allows 0 to 7; duplicate: listed before",
    ]
    assert skipped.read_text() == f"{videos}/empty.mp4\n"


def test_what_the_skip_list_leaves_out_is_not_checked_again(check, videos):
    lists = {"train": "whole0.mp4 0\nempty.mp4 1\n"}
    check(lists, "--split", "train", "--write-skip-list", videos / "skip.txt")
    skip = ("DATA.SKIP_LIST", str(videos / "skip.txt"))
    status, output, _ = check(lists, "--split", "train", overrides=skip)
    assert status == 0 and "train: 1 videos, 0 with problems" in output


def test_a_skip_list_written_again_still_has_what_it_left_out(check, videos):
    skipped = videos / "skip.txt"
    skipped.write_text(f"{videos}/empty.mp4\t2 times\thas no bytes\n")
    lists = {"train": "whole0.mp4 0\nempty.mp4 1\nnowhere.mp4 1\n"}
    flags = ("--split", "train", "--write-skip-list", skipped)
    _, output, _ = check(lists, *flags, overrides=("DATA.SKIP_LIST", str(skipped)))
    assert skipped.read_text() == f"{videos}/empty.mp4\n{videos}/nowhere.mp4\n"
    assert output.splitlines()[-1] == f"2 paths written to {skipped}"


def test_json_has_a_line_for_every_finding_and_one_for_all(check, videos):
    flags = ("--split", "train", "--json")
    status, output, _ = check(
        {"train": "whole0.mp4 0\nempty.mp4 9\n"}, *flags, overrides=["TRAIN.BATCH_SIZE", "4"]
    )
    lines = [json.loads(line) for line in output.splitlines()]
    of_video = {"split": "train", "path": f"{videos}/empty.mp4"}
    assert status == 1
    assert lines[0]["kind"] == "refused" and "TRAIN.BATCH_SIZE 4" in lines[0]["text"]
    assert lines[1:3] == [
        {"kind": "empty", "text": "has no bytes", **of_video},
        {"kind": "label", "text": "label 9; MODEL.NUM_CLASSES 8 allows 0 to 7", **of_video},
    ]
    assert lines[-1] == {"kind": "summary", "num_videos": {"train": 2}, "has_problems": True}


def test_quiet_leaves_standard_error_to_warnings(videos):
    (videos / "tiny.yaml").write_text(TINY)
    (videos / "train.csv").write_text("whole0.mp4 0\n")
    words = ["--cfg", str(videos / "tiny.yaml"), "--split", "train", "--jobs", "1"]
    words += ["DATA.PATH_TO_DATA_DIR", str(videos), "OUTPUT_DIR", str(videos / "out")]
    command = [sys.executable, str(ROOT / "tools/check_data.py")]
    ended = [
        subprocess.run([*command, *flags, *words, "TRAIN.BATCH_SIZE", "1"], capture_output=True, text=True)
        for flags in (["--quiet"], ["--cache", str(videos / "other.jsonl")])
    ]
    assert [process.returncode for process in ended] == [0, 0]
    assert ended[0].stderr == "" and "looked at 1/1" in ended[1].stderr
    assert ended[0].stdout == ended[1].stdout
