"""What tools/check_data.py finds in lists of frame folders."""

import os
import shutil

from slowfast_mlp.data.tar_files import write_shard
from tests.apps.check_data.pictures import write_jpeg
from tests.conftest import numbered_frames


def test_a_file_that_hangs_is_given_up_and_named(check_frames, videos):
    (videos / "8").mkdir()
    os.mkfifo(videos / "8" / "00001.jpg")  # nobody writes: opening it waits for ever
    status, output, _ = check_frames("7 3 0\n8 1 0\n", "--timeout", "3")
    assert status == 1
    assert "files given up, because reading them took too long: 1" in output
    assert f"  train: {videos}/8/{{:05d}}.jpg: no result after 3 s" in output.splitlines()
    assert "train: 2 videos, 1 with problems" in output


def test_frame_folders_are_compared_with_their_list(check_frames, videos):
    status, output, _ = check_frames("7 3 0\n")
    assert status == 0 and "train: 1 videos, 0 with problems; 3 to 3 frames" in output
    assert "7/{:05d}.jpg: 3 frames; a clip takes 4" in output
    status, output, _ = check_frames("7 2 0\n")
    assert status == 1 and "7/{:05d}.jpg: the list says 2 frames, there are 3" in output
    status, output, _ = check_frames("7 4 0\n9 4 0\n")
    assert status == 1 and "9/{:05d}.jpg: does not exist" in output
    assert f"7/{{:05d}}.jpg: the list says 4 frames, but there is no {videos}/7/00004.jpg" in output


def test_a_gap_in_a_folder_is_found_without_decoding(check_frames, videos):
    (videos / "7" / "00002.jpg").unlink()
    status, output, _ = check_frames("7 3 0\n", "--decode", "none")
    assert status == 1
    assert (
        f"  train: {videos}/7/{{:05d}}.jpg: the list says 3 frames, but there is no {videos}/7/00002.jpg"
        in output.splitlines()
    )


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
