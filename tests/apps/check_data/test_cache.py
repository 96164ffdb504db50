"""What tools/check_data.py remembers of files from one check to the next."""

import json
from pathlib import Path


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
