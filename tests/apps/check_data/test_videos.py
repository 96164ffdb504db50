"""What tools/check_data.py finds in lists of video files."""

import os
import shutil

from slowfast_mlp.data.tar_files import write_shard


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


def test_a_pipe_in_a_list_is_no_video(check, videos):
    os.mkfifo(videos / "pipe.mp4")
    status, output, _ = check({"train": "pipe.mp4 0\n"}, "--split", "train")
    assert status == 1 and "pipe.mp4: is neither a file nor a folder of frames" in output


def test_a_list_of_three_columns_that_is_read_as_two_is_said(check, videos):
    status, output, _ = check({"train": "whole0.mp4 40 0\n"}, "--split", "train")
    assert status == 1
    assert (
        f"  train: {videos}/whole0.mp4 40: does not exist. '{videos}/whole0.mp4 40' ends in a number: for "
        "lists `path frames label` set DATA.ARGS.columns 3"
    ) in output.splitlines()


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


def test_the_damaged_one_of_the_real_clips_is_found_and_the_others_pass(check, shared_folder, tmp_path):
    lists = (shared_folder / "videos" / "train.csv").read_text()
    overrides = ["DATA.PATH_PREFIX", str(shared_folder / "videos"), "MODEL.NUM_CLASSES", "400"]
    assert check({"train": lists}, "--split", "train", "--decode", "all", overrides=overrides)[0] == 0
    status, output, _ = check({"train": f"{lists}corrupted.mp4 3\n"}, "--split", "train", overrides=overrides)
    assert status == 1
    assert "train: 5 videos, 1 with problems" in output
    assert "corrupted.mp4: decoding ends after 28 of 50 frames (Invalid data found" in output
