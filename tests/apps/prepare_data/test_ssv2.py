"""Something-Something V2: JSONs of the videos that are there, or lists of frame folders."""

import json
import shutil
from pathlib import Path

import av
import pytest

from tests.apps.prepare_data.running import shows, trains_and_tests, write_frames


def write_ssv2_annotations(folder):
    def entry(number, template):
        return {"id": number, "label": "opening a box", "template": template, "placeholders": ["a box"]}

    start = folder / "something-something-v2-"
    Path(f"{start}labels.json").write_text(json.dumps({"Opening something": "0", "Closing something": "1"}))
    train = [
        entry("1", "Opening [something]"),
        entry("2", "Closing [something]"),
        entry("3", "Opening [something]"),
    ]
    Path(f"{start}train.json").write_text(json.dumps(train))
    Path(f"{start}validation.json").write_text(json.dumps([entry("4", "Closing [something]")]))
    return ("ssv2", "--annotations", folder, "--out", folder / "out")


@pytest.fixture
def ssv2(tmp_path, write_numbered):
    (tmp_path / "videos").mkdir()
    for number in (1, 2, 4):
        shutil.copy(
            write_numbered("a.webm", 20 + number, codec="libvpx-vp9", g="99"),
            tmp_path / f"videos/{number}.webm",
        )
    return (*write_ssv2_annotations(tmp_path), "--videos", tmp_path / "videos")


def ids(path):
    return [entry["id"] for entry in json.loads(path.read_text())]


def test_ssv2_keeps_the_annotations_of_the_videos_that_are_there(prepare, ssv2, tmp_path):
    status, output, _ = prepare(*ssv2)
    out = tmp_path / "out"
    assert status == 1
    assert ids(out / "something-something-v2-train.json") == ["1", "2"]
    assert ids(out / "something-something-v2-validation.json") == ["4"]
    assert json.loads((out / "something-something-v2-labels.json").read_text()) == {
        "Opening something": "0",
        "Closing something": "1",
    }
    assert (out / "missing.txt").read_text() == "train 3: there is no file\n"
    assert output[-1].split()[1:] == [
        "TRAIN.DATASET", "ssv2", "DATA.PATH_TO_DATA_DIR", str(out), "DATA.PATH_PREFIX", f"{tmp_path}/videos",
        "MODEL.NUM_CLASSES", "2", "DATA.RANDOM_FLIP", "False",
    ]  # fmt: skip


def test_prepared_ssv2_trains_and_tests(prepare, ssv2, command):
    _, output, _ = prepare(*ssv2)
    trains_and_tests(command, output, num_tested=1)


def test_reencoded_ssv2_trains_and_tests(prepare, ssv2, tmp_path, command):
    _, output, _ = prepare(*ssv2, "--reencode")
    trains_and_tests(command, output, num_tested=1)
    assert shows(tmp_path / "out/videos/2.mp4") == list(range(22))
    with av.open(str(tmp_path / "out/videos/2.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_ssv2_in_shards_is_listed_as_kinetics(prepare, ssv2, tmp_path):
    _, output, _ = prepare(*ssv2, "--shards", "2")
    assert (tmp_path / "out/train.csv").read_text() == "shard-00000.tar/1.webm 0\nshard-00000.tar/2.webm 1\n"
    assert (tmp_path / "out/val.csv").read_text() == "shard-00001.tar/4.webm 1\n"
    assert (tmp_path / "out/categories.txt").read_text() == "Opening something\t0\nClosing something\t1\n"
    assert "TRAIN.DATASET kinetics" in output[-1]
    assert output[-1].endswith("MODEL.NUM_CLASSES 2 DATA.RANDOM_FLIP False DATA.SAMPLING segments")


def test_of_a_video_in_the_folder_and_below_the_one_in_the_folder_is_taken(prepare, ssv2, tmp_path):
    (tmp_path / "videos/1").mkdir()
    shutil.copy(tmp_path / "videos/1.webm", tmp_path / "videos/1/1.webm")
    prepare(*ssv2)
    listed = json.loads((tmp_path / "out/something-something-v2-train.json").read_text())
    assert [entry["id"] for entry in listed] == ["1", "2"]


def test_ssv2_frames_are_listed_as_the_forks_do(prepare, tmp_path):
    for folder, num_frames in ((1, 3), (2, 4), (3, 5), (4, 6)):
        write_frames(tmp_path / "frames" / str(folder), num_frames, "{:06d}.jpg")
    words = write_ssv2_annotations(tmp_path)
    assert prepare(*words, "--frames", tmp_path / "frames")[0] == 0
    assert (tmp_path / "out/somesomev2_rgb_train_split.txt").read_text() == "1 3 0\n2 4 1\n3 5 0\n"
    assert (tmp_path / "out/somesomev2_rgb_validation_split.txt").read_text() == "4 6 1\n"
    assert (tmp_path / "out/category.txt").read_text() == "Opening something\nClosing something\n"


def test_official_annotations_are_not_written_over_by_those_of_the_videos_that_are_there(
    prepare, ssv2, tmp_path
):
    before = ids(tmp_path / "something-something-v2-train.json")
    status, _, error = prepare(*ssv2, "--out", tmp_path)
    assert status == 2
    assert "something-something-v2-train.json would be written over by our list of that name" in error
    assert ids(tmp_path / "something-something-v2-train.json") == before == ["1", "2", "3"]
