"""Something-Something V1: frame folders, as the lists of PySlowFast's forks."""

import shutil
import tarfile
from pathlib import Path

import pytest

from tests.apps.prepare_data.running import trains_and_tests, write_frames


@pytest.fixture
def ssv1(tmp_path):
    start = tmp_path / "something-something-v1-"
    Path(f"{start}labels.csv").write_text("Opening something\nMoving something up\n")
    Path(f"{start}train.csv").write_text("7;Opening something\n8;Moving something up\n9;Opening something\n")
    Path(f"{start}validation.csv").write_text("10;Moving something up\n")
    for folder, num_frames in ((7, 5), (8, 6), (10, 4)):
        write_frames(tmp_path / "frames" / str(folder), num_frames, "{:05d}.jpg")
    return tmp_path


def ssv1_words(folder, *more):
    return ("ssv1", "--annotations", folder, "--frames", folder / "frames", "--out", folder / "out", *more)


def test_ssv1_lists_count_the_frames_that_are_there(prepare, ssv1):
    status, output, _ = prepare(*ssv1_words(ssv1))
    out = ssv1 / "out"
    assert status == 1
    assert (out / "somesomev1_rgb_train_split.txt").read_text() == "7 5 1\n8 6 0\n"
    assert (out / "somesomev1_rgb_validation_split.txt").read_text() == "10 4 0\n"
    assert (out / "category.txt").read_text() == "Moving something up\nOpening something\n"
    assert (out / "missing.txt").read_text() == "train 9: there is no folder\n"
    assert output[-1].startswith(
        f"settings: TRAIN.DATASET ssv1 DATA.PATH_TO_DATA_DIR {out} DATA.PATH_PREFIX "
    )


def test_prepared_ssv1_trains_and_tests(prepare, ssv1, command):
    _, output, _ = prepare(*ssv1_words(ssv1))
    trains_and_tests(command, output, num_tested=1)


def test_frame_folders_in_shards_train_and_test_as_from_files(prepare, ssv1, command, tmp_path):
    words = ssv1_words(ssv1, "--shards", "2")
    _, output, _ = prepare(*words)
    out = ssv1 / "out"
    assert (out / "somesomev1_rgb_train_split.txt").read_text() == (
        "shard-00000.tar/7 5 1\nshard-00000.tar/8 6 0\n"
    )
    assert (out / "somesomev1_rgb_validation_split.txt").read_text() == "shard-00001.tar/10 4 0\n"
    with tarfile.open(out / "shards/shard-00001.tar") as tar:
        assert tar.getnames() == [f"10/{number:05d}.jpg" for number in (1, 2, 3, 4)]
    assert f"DATA.PATH_PREFIX {out}/shards" in output[-1]
    trains_and_tests(command, output, num_tested=1)
    status, _, error = prepare(*ssv1_words(ssv1, "--shards", "9"))
    assert status == 2
    assert f"{out}/shards/shard-00001.tar is of an earlier run that wrote more shards; remove it" in error
    status, _, error = prepare(*ssv1_words(ssv1))
    assert status == 2
    assert f"{out}/shards holds tar shards of an earlier run, and its lists lead there" in error
    assert "shard-00000.tar/7 5 1\n" in (out / "somesomev1_rgb_train_split.txt").read_text()


def test_ssv1_folders_with_a_gap_are_left_out_with_the_reason(prepare, ssv1):
    (ssv1 / "frames/8/00003.jpg").unlink()
    prepare(*ssv1_words(ssv1))
    assert (ssv1 / "out/somesomev1_rgb_train_split.txt").read_text() == "7 5 1\n"
    assert "train 8: has no 00003.jpg, but 00001.jpg to 00006.jpg\n" in (ssv1 / "out/missing.txt").read_text()


def test_frames_numbered_otherwise_are_said_and_can_be_given(prepare, ssv1, command):
    shutil.rmtree(ssv1 / "frames")
    for folder in (7, 8, 9, 10):
        write_frames(ssv1 / "frames" / str(folder), 3, "img_{:05d}.jpg", first=0)
    status, _, error = prepare(*ssv1_words(ssv1))
    assert status == 2
    assert "the first, 7, has no 00001.jpg, but img_00000.jpg to img_00002.jpg. Set --image-template" in error
    named = ("--image-template", "img_{:05d}.jpg", "--first-frame", "0")
    status, output, _ = prepare(*ssv1_words(ssv1, *named))
    assert status == 0
    trains_and_tests(command, output, num_tested=1)
    assert (ssv1 / "out/somesomev1_rgb_validation_split.txt").read_text() == "10 3 0\n"
