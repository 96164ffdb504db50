"""tools/check_data.py: what it finds in lists and files, how it says so, and what it remembers."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from torchvision.io import write_jpeg as write_tensor

from slowfast_mlp.data.shards import write_shard
from tests.conftest import ROOT, TINY, main_of, numbered_frames


def write_jpeg(path, frame):
    """Writes a frame [H, W, 3] (uint8) as a JPEG file."""
    write_tensor(frame.permute(2, 0, 1), str(path))  # 3 H W


@pytest.fixture
def check(tmp_path, capsys):
    """Writes lists (split -> text) over the videos of tmp_path and checks them; returns status and output."""

    def check(lists, *flags, overrides=()):
        (tmp_path / "tiny.yaml").write_text(TINY)
        for split, text in lists.items():
            (tmp_path / f"{split}.csv").write_text(text)
        words = ["DATA.PATH_TO_DATA_DIR", str(tmp_path), "OUTPUT_DIR", str(tmp_path / "out")]
        words += ["TRAIN.BATCH_SIZE", "1", *overrides]
        flags = ["--cfg", str(tmp_path / "tiny.yaml"), "--jobs", "1", *map(str, flags)]
        status = main_of("check_data")([*flags, *words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return check


@pytest.fixture
def videos(tmp_path, write_numbered, damaged_video):
    """Whole and bad videos in tmp_path."""
    for number in range(3):
        shutil.copy(write_numbered("whole.mp4", 40 + number), tmp_path / f"whole{number}.mp4")
    whole = Path(write_numbered("whole.mkv", 120)).read_bytes()
    (tmp_path / "half.mkv").write_bytes(whole[: len(whole) // 2])
    shutil.copy(damaged_video, tmp_path / "damaged.mp4")
    (tmp_path / "empty.mp4").touch()
    return tmp_path


def test_a_clean_list_is_status_0_and_says_its_lengths(check, videos):
    status, output, _ = check({"train": "whole0.mp4 0\nwhole1.mp4 1\nwhole2.mp4 7\n"}, "--split", "train")
    assert status == 0
    assert output.splitlines() == [
        "train: 3 videos, 0 with problems; 40 to 42 frames, median 41",
        "note: train: 5 of 8 classes have no video: 2, 3, 4, 5, 6",
        "no problems",
    ]


def test_every_file_that_cannot_be_read_is_named_with_what_is_wrong(check, videos):
    names = ("whole0", "nowhere", "empty", "damaged")
    status, output, _ = check(
        {"train": "".join(f"{name}.mp4 1\n" for name in names) + "half.mkv 1\n"}, "--split", "train"
    )
    assert status == 1
    assert output.splitlines()[:-2] == [
        "train: 5 videos, 4 with problems; 40 to 40 frames, median 40",
        "files that do not exist: 1",
        f"  train: {videos}/nowhere.mp4: does not exist",
        "files without a byte: 1",
        f"  train: {videos}/empty.mp4: has no bytes",
        "files that cannot be decoded: 2",
        f"  train: {videos}/damaged.mp4: decoding ends after 50 of 120 frames (Invalid data found when "
        "processing input)",
        f"  train: {videos}/half.mkv: is cut short: ends after 1.5 of the 4.0 s of its header",
    ]
    assert output.splitlines()[-1] == "there are problems"


def test_without_decoding_damage_inside_a_file_is_not_seen(check, videos):
    assert check({"train": "damaged.mp4 0\n"}, "--split", "train", "--decode", "none")[0] == 0
    assert check({"train": "damaged.mp4 0\n"}, "--split", "train", "--decode", "all")[0] == 1


def test_labels_repeats_leaks_and_short_videos_are_found(check, videos):
    shutil.copy(videos / "whole0.mp4", videos / "copy.mp4")
    status, output, _ = check(
        {
            "train": "whole0.mp4 0\nwhole1.mp4 8\nwhole0.mp4 0\ncopy.mp4 3\n",
            "val": "whole1.mp4 1\nwhole2.mp4 1\n",
            "test": "whole2.mp4 1\n",
        },
        overrides=["DATA.SAMPLING_RATE", "11"],
    )
    assert status == 1
    for line in (
        "train: 4 videos, 3 with problems; 40 to 41 frames, median 40",
        "val: 2 videos, 1 with problems; 41 to 42 frames, median 42",
        f"  train: {videos}/whole1.mp4: label 8; MODEL.NUM_CLASSES 8 allows 0 to 7",
        f"  train: {videos}/whole0.mp4: listed before",
        f"  train: {videos}/copy.mp4: listed before as {videos}/whole0.mp4, with the same bytes, with the "
        "label 0 instead of 3",
        f"  val: {videos}/whole1.mp4: in the train list, with the label 8 instead of 1",
        "note: videos shorter than a clip: 7",
        f"  test: {videos}/whole2.mp4: 42 frames; a clip takes 44",
        "note: val and test share 1 videos, as is usual where the test has no labels",
    ):
        assert line in output.splitlines()


@pytest.fixture
def check_frames(check, videos):
    """Checks lists of frame folders; folder 7 has three frames."""
    for number in (1, 2, 3):
        (videos / "7").mkdir(exist_ok=True)
        write_jpeg(videos / "7" / f"{number:05d}.jpg", numbered_frames(1)[0])

    def check_frames(text, *flags, val=None, overrides=()):
        (videos / "somesomev1_rgb_train_split.txt").write_text(text)
        if val is not None:
            (videos / "somesomev1_rgb_validation_split.txt").write_text(val)
        flags = flags if val is not None else ("--split", "train", *flags)
        return check({}, *flags, overrides=["TRAIN.DATASET", "ssv1", *overrides])

    return check_frames


def test_a_file_that_hangs_is_given_up_and_named(check_frames, videos):
    (videos / "8").mkdir()
    os.mkfifo(videos / "8" / "00001.jpg")  # nobody writes: opening it waits for ever
    status, output, _ = check_frames("7 3 0\n8 1 0\n", "--timeout", "3")
    assert status == 1
    assert "files given up, because reading them took too long: 1" in output
    assert f"  train: {videos}/8/{{:05d}}.jpg: no result after 3 s" in output.splitlines()
    assert "train: 2 videos, 1 with problems" in output


def test_a_pipe_in_a_list_is_no_video(check, videos):
    os.mkfifo(videos / "pipe.mp4")
    status, output, _ = check({"train": "pipe.mp4 0\n"}, "--split", "train")
    assert status == 1 and "pipe.mp4: is neither a file nor a folder of frames" in output


def test_the_report_has_a_line_for_every_video_and_the_skip_list_the_unreadable_ones(check, videos):
    report, skipped = videos / "report.csv", videos / "skip.txt"
    lists = {"train": "whole0.mp4 0\nempty.mp4 9\nempty.mp4 9\n"}
    check(lists, "--split", "train", "--report", report, "--write-skip-list", skipped)
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


def cached(videos):
    lines = (videos / "out" / "check_data.jsonl").read_text().splitlines()
    return [Path(json.loads(line)["facts"][0][0]).name for line in lines]


def test_a_second_check_looks_only_at_what_has_changed(check, videos):
    lists = {"train": "whole0.mp4 0\nwhole1.mp4 1\n"}
    first = check(lists, "--split", "train")
    assert sorted(cached(videos)) == ["whole0.mp4", "whole1.mp4"]
    assert check(lists, "--split", "train")[:2] == first[:2]
    assert len(cached(videos)) == 2
    (videos / "whole1.mp4").write_bytes(b"no video")
    status, output, _ = check(lists, "--split", "train")
    assert status == 1 and "whole1.mp4: cannot be opened" in output
    assert cached(videos)[2:] == ["whole1.mp4"]


def test_a_closer_check_does_not_trust_a_quicker_one(check, videos):
    lists = {"train": "damaged.mp4 0\n"}
    assert check(lists, "--split", "train", "--decode", "none")[0] == 0
    assert check(lists, "--split", "train", "--decode", "ends")[0] == 1
    assert len(cached(videos)) == 2


def test_a_torn_line_of_the_cache_is_said_and_looked_at_anew(check, videos, caplog):
    lists = {"train": "whole0.mp4 0\nwhole1.mp4 1\n"}
    check(lists, "--split", "train")
    cache = videos / "out" / "check_data.jsonl"
    cache.write_text(cache.read_text()[:-30])
    assert check(lists, "--split", "train")[0] == 0
    assert "1 lines of the cache" in caplog.text
    assert len(cache.read_text().splitlines()) == 3


def test_frame_folders_are_compared_with_their_list(check_frames, videos):
    status, output, _ = check_frames("7 3 0\n")
    assert status == 0 and "train: 1 videos, 0 with problems; 3 to 3 frames" in output
    assert "7/{:05d}.jpg: 3 frames; a clip takes 4" in output
    status, output, _ = check_frames("7 2 0\n")
    assert status == 1 and "7/{:05d}.jpg: the list says 2 frames, there are 3" in output
    status, output, _ = check_frames("7 4 0\n9 4 0\n")
    assert status == 1 and "9/{:05d}.jpg: does not exist" in output
    assert f"7/{{:05d}}.jpg: the list says 4 frames, but there is no {videos}/7/00004.jpg" in output


def test_a_picture_that_is_overwritten_after_a_check_is_noticed(check_frames, videos):
    assert check_frames("7 3 0\n")[0] == 0
    (videos / "7" / "00001.jpg").write_bytes(b"junk")
    status, output, _ = check_frames("7 3 0\n")
    assert status == 1 and f"frame 0, the file {videos}/7/00001.jpg: is no picture that can be read" in output


def test_another_first_frame_is_another_look(check_frames, videos):
    assert check_frames("7 3 0\n")[0] == 0
    status, output, _ = check_frames("7 3 0\n", overrides=["DATA.ARGS.first_frame", "2"])
    assert status == 1
    assert (
        f"the list says 3 frames, but there is no {videos}/7/00004.jpg. There are 00001.jpg to 00003.jpg: "
        "set DATA.ARGS.first_frame 1\n"
    ) in output


def test_a_gap_in_a_folder_is_found_without_decoding(check_frames, videos):
    (videos / "7" / "00002.jpg").unlink()
    status, output, _ = check_frames("7 3 0\n", "--decode", "none")
    assert status == 1
    assert (
        f"  train: {videos}/7/{{:05d}}.jpg: the list says 3 frames, but there is no {videos}/7/00002.jpg"
        in output.splitlines()
    )


def test_a_list_of_three_columns_that_is_read_as_two_is_said(check, videos):
    status, output, _ = check({"train": "whole0.mp4 40 0\n"}, "--split", "train")
    assert status == 1
    assert (
        f"  train: {videos}/whole0.mp4 40: does not exist. '{videos}/whole0.mp4 40' ends in a number: for "
        "lists `path frames label` set DATA.ARGS.columns 3"
    ) in output.splitlines()


def test_every_list_is_held_against_the_folder(check_frames, videos):
    status, output, _ = check_frames("7 5 0\n", val="7 3 0\n")
    assert status == 1
    assert (
        f"  train: {videos}/7/{{:05d}}.jpg: the list says 5 frames, but there is no {videos}/7/00004.jpg. "
        "The folder has 3 files, 00001.jpg to 00003.jpg: set DATA.ARGS.template and DATA.ARGS.first_frame to "
        "their names, or mend the list"
    ) in output.splitlines()
    assert "val: 1 videos, 1 with problems; 3 to 3 frames, median 3" in output  # the leak
    assert "files that cannot be decoded: 1" in output


def test_a_copied_folder_is_a_leak(check_frames, videos):
    shutil.copytree(videos / "7", videos / "copy")
    shutil.copytree(videos / "7", videos / "longer")
    write_jpeg(videos / "longer" / "00004.jpg", numbered_frames(1)[0])
    shutil.copytree(videos / "7", videos / "other")
    write_jpeg(videos / "other" / "00002.jpg", numbered_frames(2)[1])
    status, output, _ = check_frames("7 3 0\n", val="copy 3 1\nlonger 4 0\nother 3 0\n")
    assert status == 1
    assert (
        f"  val: {videos}/copy/{{:05d}}.jpg: in the train list as {videos}/7/{{:05d}}.jpg, with the same "
        "pictures at its start, middle and end, with the label 0 instead of 1"
    ) in output.splitlines()
    assert "videos of an evaluation list that are in the train list too: 2" in output  # val and test
    assert "val: 3 videos, 1 with problems" in output


def test_folders_of_frames_in_a_tar_are_looked_at(check_frames, videos):
    names = [f"{folder}/{number:05d}.jpg" for folder in (7, 8) for number in (1, 2, 3)]
    shutil.copytree(videos / "7", videos / "8")
    (videos / "8" / "00003.jpg").write_bytes(b"junk")
    write_shard(videos / "shard-00000.tar", [(name, videos / name) for name in names])
    prefix = ["DATA.PATH_PREFIX", str(videos / "shard-00000.tar")]
    for _ in range(2):  # the second time from the cache
        status, output, _ = check_frames("7 3 0\n", overrides=prefix)
        assert status == 0 and "train: 1 videos, 0 with problems; 3 to 3 frames" in output
    status, output, _ = check_frames("7 2 0\n8 3 0\n9 3 0\n7 4 0\n", overrides=prefix)
    assert status == 1
    for line in (
        "7/{:05d}.jpg: the list says 2 frames, there are 3",
        f"frame 2, the file {videos}/shard-00000.tar/8/00003.jpg: is no picture that can be read",
        "9/{:05d}.jpg: does not exist",
        f"7/{{:05d}}.jpg: the list says 4 frames, but there is no {videos}/shard-00000.tar/7/00004.jpg",
    ):
        assert line in output


def test_a_bad_picture_between_good_ones_is_found_by_decoding_all(check_frames, videos):
    (videos / "7" / "00002.jpg").write_bytes(b"no picture")
    assert check_frames("7 3 0\n", "--decode", "ends")[0] == 0
    status, output, _ = check_frames("7 3 0\n", "--decode", "all")
    assert status == 1 and f"frame 1, the file {videos}/7/00002.jpg: is no picture that can be read" in output


def test_names_for_another_number_of_classes_are_a_problem(check, videos):
    (videos / "categories.txt").write_text("run\njump\n")
    status, output, _ = check({"train": "whole0.mp4 0\n"}, "--split", "train")
    assert status == 1
    assert "train: the data set names 2 classes; MODEL.NUM_CLASSES is 8" in output.splitlines()


def test_videos_in_tar_shards_are_looked_at(check, videos):
    names = ("whole0.mp4", "damaged.mp4", "empty.mp4")
    write_shard(videos / "shard-00000.tar", [(name, videos / name) for name in names])
    lines = "".join(f"shard-00000.tar/{name} 0\n" for name in (*names, "nowhere.mp4"))
    status, output, _ = check({"train": lines}, "--split", "train", "--decode", "all")
    assert status == 1
    for line in (
        "train: 4 videos, 3 with problems; 40 to 40 frames, median 40",
        f"  train: {videos}/shard-00000.tar/damaged.mp4: decoding ends after 50 of 120 frames (Invalid data "
        "found when processing input)",
        f"  train: {videos}/shard-00000.tar/empty.mp4: has no bytes",
        f"  train: {videos}/shard-00000.tar/nowhere.mp4: does not exist",
    ):
        assert line in output.splitlines()


@pytest.mark.parametrize(
    ("flags", "overrides", "message"),
    [
        (["--split", "val"], ["TRAIN.EVAL_PERIOD", "0"], "--split val: the config reads train, test only."),
        ([], ["DATA.PATH_TO_DATA_DIR", "/nowhere"], "DATA.PATH_TO_DATA_DIR '/nowhere' has no train.csv"),
        ([], ["DATA.PATHPREFIX", "/nowhere"], "Did you mean DATA.PATH_PREFIX?"),
        (
            ["--report", "/nowhere/x.csv"],
            [],
            "--report /nowhere/x.csv cannot be written: there is no folder /nowhere.",
        ),
        (["--report", "/tmp"], [], "--report /tmp cannot be written: it is a folder. Name a file."),
        (["--report", "/dev/full"], [], "--report /dev/full cannot be written to (/dev/full: No space left"),
        (["--cache", "/dev/null/x"], [], "The cache /dev/null/x cannot be used (File exists); give"),
    ],
)
def test_a_wrong_command_is_a_line_and_status_2(check, videos, flags, overrides, message):
    lists = dict.fromkeys(("train", "val", "test"), "whole0.mp4 0\n")
    status, _, error = check(lists, *flags, overrides=overrides)
    assert status == 2
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["MODEL.NAME", "morpmlp"], "Did you mean 'morphmlp'?"),
        (["MODEL.ARGS.droppath", "0.1"], "MODEL.ARGS of morphmlp: no argument 'droppath'"),
        (["DATA.TEST_CROP_SIZE", "36"], "DATA.TEST_CROP_SIZE 36 differs from DATA.TRAIN_CROP_SIZE 32"),
        (["AUG.ENABLE", "True", "AUG.AA_TYPE", "rand-q9"], "AUG.AA_TYPE 'rand-q9'"),
        (["TRAIN.BATCH_SIZE", "4"], "TRAIN.BATCH_SIZE 4 is more than the 3 videos of the train list"),
        (["MIXUP.ENABLE", "True"], "MIXUP.ENABLE True with one clip a process"),
        (["SOLVER.BETAS", "[0.9]"], "SOLVER.BETAS [0.9]: give two numbers"),
        (["TRAIN.CHECKPOINT_FILE_PATH", "/nowhere.pyth"], "There is no checkpoint '/nowhere.pyth'"),
        (["MULTIGRID.SHORT_CYCLE", "True"], "morphmlp"),
    ],
)
def test_settings_that_a_run_refuses_are_the_first_findings(check, videos, overrides, message):
    lists = dict.fromkeys(("train", "val", "test"), "".join(f"whole{n}.mp4 {n}\n" for n in range(3)))
    status, output, _ = check(lists, overrides=overrides)
    first = output.splitlines()[0]
    assert status == 1
    assert first.startswith("run_net.py refuses: ") and message in first
    assert output.splitlines()[1].startswith("train: 3 videos")


def test_flips_of_sides_without_names_are_found_before_a_run(check_frames):
    status, output, _ = check_frames("7 3 0\n", overrides=["DATA.RANDOM_FLIP", "True"])
    assert status == 1
    assert output.splitlines()[0] == (
        "run_net.py refuses: DATA.RANDOM_FLIP True: ssv1 has classes that tell left from right, and their "
        "names, which say which labels to swap, are unknown. Set DATA.RANDOM_FLIP False, or DATA.ARGS "
        "label_names."
    )


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


def test_a_label_beyond_all_numbers_is_a_wrong_command_and_no_traceback(check, videos):
    status, _, error = check({"train": "whole0.mp4 99999999999999999999\n"}, "--split", "train")
    assert status == 2
    assert error == (
        f"error: The list gives '{videos}/whole0.mp4' the label 99999999999999999999, which is too large to "
        "be one; mend the list.\n"
    )


@pytest.mark.parametrize("flags", [["--jobs", "0"], ["--timeout", "0"], ["--decod", "all"]])
def test_a_wrong_flag_is_status_2(check, videos, flags):
    with pytest.raises(SystemExit, match="2"):
        check({"train": "whole0.mp4 0\n"}, *flags)


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        main_of("check_data")(["--help"])
    assert "python tools/check_data.py --cfg configs/Kinetics" in capsys.readouterr().out


def test_the_damaged_one_of_the_real_clips_is_found_and_the_others_pass(check, shared_folder, tmp_path):
    lists = (shared_folder / "videos" / "train.csv").read_text()
    overrides = ["DATA.PATH_PREFIX", str(shared_folder / "videos"), "MODEL.NUM_CLASSES", "400"]
    assert check({"train": lists}, "--split", "train", "--decode", "all", overrides=overrides)[0] == 0
    status, output, _ = check({"train": f"{lists}corrupted.mp4 3\n"}, "--split", "train", overrides=overrides)
    assert status == 1
    assert "train: 5 videos, 1 with problems" in output
    assert "corrupted.mp4: decoding ends after 28 of 50 frames (Invalid data found" in output
