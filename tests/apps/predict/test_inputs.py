"""What the words of a command line stand for."""

import logging

import pytest
from PIL import Image

from slowfast_mlp.apps.predict.inputs import display_path, find_inputs, read_list
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.tar_files import write_shard
from slowfast_mlp.data.video_io.stream import Stream
from slowfast_mlp.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """b.mp4, a.MKV, notes.txt, deep/c.webm and deep/frames/img_1.jpg to img_10.jpg; the current folder."""
    (tmp_path / "deep" / "frames").mkdir(parents=True)
    for name in ("b.mp4", "a.MKV", "notes.txt", "deep/c.webm"):
        (tmp_path / name).write_bytes(b"x")
    for number in range(1, 11):
        Image.new("RGB", (8, 8)).save(tmp_path / "deep" / "frames" / f"img_{number}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_stands_for_all_that_is_in_it(folder):
    assert find_inputs(["."]) == [
        Record("a.MKV", 0),
        Record("b.mp4", 0),
        Record("deep/c.webm", 0),
        Record("deep/frames/img_{:01d}.jpg", 0, 10, 1),
    ]


def test_words_keep_their_order_and_come_once(folder):
    found = find_inputs(["b.mp4", "rtsp://camera/1", "deep/*.webm", "*.mp4", "gone.mp4"])
    assert found == [
        Record("b.mp4", 0),
        Stream("rtsp://camera/1"),
        Record("deep/c.webm", 0),
        Record("gone.mp4", 0),  # told when it is read, and the others go on
    ]


def test_patterns_reach_into_folders(folder):
    assert find_inputs(["**/*.webm"]) == [Record("deep/c.webm", 0)]


def test_a_folder_of_frames_is_called_by_its_name(folder):
    (frames,) = find_inputs(["deep/frames"])
    assert display_path(frames) == "deep/frames"
    assert display_path(Record("a{0}.mp4", 0)) == "a{0}.mp4"


def test_zeros_in_front_and_braces_in_names_are_kept(tmp_path):
    place = tmp_path / "a{b}"
    place.mkdir()
    for number in range(8, 12):
        Image.new("RGB", (8, 8)).save(place / f"v2_{number:04d}.png")
    (frames,) = find_inputs([str(place)])
    assert (frames.num_frames, frames.first_frame) == (4, 8)
    assert frames.first_file == f"{place}/v2_0008.png"
    assert display_path(frames) == str(place)


def test_pictures_with_gaps_are_taken_one_by_one(folder, caplog):
    (folder / "deep" / "frames" / "img_4.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        found = find_inputs(["deep/frames"])
    assert len(found) == 9
    assert found[0] == Record("deep/frames/img_1.jpg", 0)
    assert "deep/frames: its pictures are numbered with gaps" in caplog.text


def test_an_image_model_takes_numbered_pictures_one_by_one(folder):
    assert len(find_inputs(["deep/frames"], folders_are_videos=False)) == 10


def test_a_video_in_a_tar_is_one(folder):
    write_shard(folder / "shard-00000.tar", [("x[1].mp4", b"x")])
    assert find_inputs(["shard-00000.tar/x[1].mp4"]) == [Record("shard-00000.tar/x[1].mp4", 0)]


@pytest.mark.parametrize(
    ("word", "message"),
    [("*.flv", "No file matches '\\*.flv'"), ("empty", "The folder empty holds no video and no picture")],
)
def test_nothing_found_is_refused(folder, word, message):
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        find_inputs([word])


def test_a_list_has_a_path_a_line():
    assert read_list(["a b.mp4\n", "\n", " c.mp4 \n"], name="list") == ["a b.mp4", "c.mp4"]
    with pytest.raises(UserError, match="standard input names no video"):
        read_list(["\n"], name="standard input")
