"""Something-Something: lists, JSONs and names as they are handed out, and what is wrong with wrong ones."""

import json
import logging

import pytest

from slowfast_mlp.data.datasets import ssv1, ssv2
from slowfast_mlp.data.records import Record
from slowfast_mlp.errors import UserError

V1_TRAIN, V1_VAL = "somesomev1_rgb_train_split.txt", "somesomev1_rgb_validation_split.txt"
V2_TRAIN, V2_VAL = "somesomev2_rgb_train_split.txt", "somesomev2_rgb_validation_split.txt"
LABELS = {"Holding something": "0", "Turning the camera left while filming something": "1"}
TRAIN = [
    {"id": "78687", "label": "holding potato", "template": "Holding [something]", "placeholders": ["potato"]},
    {"id": "42", "label": "...", "template": "Turning the camera left while filming [something]"},
]
HEADER = "original_vido_id video_id frame_id path labels\n"


def read_v1(root, split="train", prefix="/f", **arguments):
    return ssv1.read_records(str(root), split, prefix=prefix, separator=" ", **arguments)


def read_v2(root, split="train", prefix="/v", **arguments):
    return ssv2.read_records(str(root), split, prefix=prefix, separator=" ", **arguments)


@pytest.fixture
def official(tmp_path):
    """A folder of the official JSONs."""
    for name, contents in (("labels", LABELS), ("train", TRAIN), ("validation", TRAIN[1:])):
        (tmp_path / f"something-something-v2-{name}.json").write_text(json.dumps(contents))
    return tmp_path


def test_a_line_of_v1_is_a_folder_its_frames_and_a_label(tmp_path):
    (tmp_path / V1_TRAIN).write_text("100218 48 107\n24413 43 98\n\n")
    assert list(read_v1(tmp_path)) == [
        Record("/f/100218/{:05d}.jpg", 107, 48, 1),
        Record("/f/24413/{:05d}.jpg", 98, 43, 1),
    ]


def test_the_test_split_of_v1_is_the_validation_list_unless_another_is_named(tmp_path):
    (tmp_path / V1_VAL).write_text("a b 5 0\n")
    (tmp_path / "mine.txt").write_text("c\t6\t1\n")
    assert list(read_v1(tmp_path, "test", prefix="")) == [Record(f"{tmp_path}/a b/{{:05d}}.jpg", 0, 5, 1)]
    arguments = {"test_list": "mine.txt", "template": "img_{:06d}.png", "first_frame": 0}
    assert list(read_v1(tmp_path, "test", **arguments)) == [Record("/f/c/img_{:06d}.png", 1, 6, 0)]


def test_names_of_v1_come_from_category_txt_beside_the_lists(tmp_path):
    (tmp_path / V1_TRAIN).write_text("1 48 0\n")
    assert read_v1(tmp_path).label_names == ()
    (tmp_path / "category.txt").write_text("Holding something\nTurning the camera left\n")
    assert read_v1(tmp_path).label_names == ("Holding something", "Turning the camera left")
    (tmp_path / "mine.txt").write_text("b\t1\na\t0\n")
    assert read_v1(tmp_path, label_names="mine.txt").label_names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("", {}, "train_split.txt is empty: it needs a line `folder frames label`"),
        ("1 48 0\n1,48,0\n", {}, "train_split.txt, line 2: '1,48,0' is no `folder frames label` with blanks"),
        ("1 48\n", {}, "line 1: '1 48' is no `folder frames label`"),
        (f"1 {'9' * 5000} 0\n", {}, "line 1: '1 9+ 0' is no `folder frames label`"),
        ("0 99999999999 0\n", {}, "gives '/f/0/{:05d}.jpg' the num frames 99999999999, which is too large"),
        ("1 0 5\n", {}, "line 1: '1' has 0 frames; extract them, or leave the line out"),
        ("1 48 0\n", {"template": "%05d.jpg"}, "template '%05d.jpg' does not number pictures: write it like"),
        ("1 48 0\n", {"template": "{:05d}{}.jpg"}, "does not number pictures"),
        ("1 48 0\n", {"first_frame": -1}, "first_frame -1: the first picture has the number 0, 1 or more"),
        ("1 48 0\n", {"train_list": "a.txt"}, "has no a.txt: give the folder of the lists, or their names"),
        ("1 48 0\n", {"label_names": "x.txt"}, "no file of label names '.*x.txt'; set DATA.ARGS label_names"),
    ],
)
def test_what_is_wrong_with_a_list_of_frames_is_said(tmp_path, text, arguments, message):
    (tmp_path / V1_TRAIN).write_text(text)
    with pytest.raises(UserError, match=message):
        read_v1(tmp_path, **arguments)


def test_videos_of_v2_are_found_by_their_ids(official, tmp_path, caplog):
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "78687.webm").touch()
    (videos / "42.mp4").touch()
    with caplog.at_level(logging.INFO):
        records = read_v2(official, prefix=str(videos))
    assert "ssv2, train: the form is videos; DATA.ARGS form chooses another" in caplog.text
    assert list(records) == [Record(f"{videos}/78687.webm", 0), Record(f"{videos}/42.mp4", 1)]
    assert records.label_names == tuple(LABELS)
    assert list(read_v2(official, "test", prefix=str(videos))) == [Record(f"{videos}/42.mp4", 1)]


def test_a_video_that_is_not_there_stays_in_the_list(official, tmp_path):
    assert list(read_v2(official, "val", prefix=str(tmp_path))) == [Record(f"{tmp_path}/42.webm", 1)]
    assert list(read_v2(official, "val", suffix=".mp4")) == [Record("/v/42.mp4", 1)]
    with pytest.raises(UserError, match="no folder '/v': set DATA.PATH_PREFIX to that of the videos"):
        read_v2(official, "val")


def test_the_jsons_of_the_later_release_have_a_folder(tmp_path):
    (tmp_path / "labels").mkdir()
    for name, contents in (("labels", LABELS), ("train", TRAIN), ("validation", TRAIN[1:])):
        (tmp_path / "labels" / f"{name}.json").write_text(json.dumps(contents))
    assert [record.label for record in read_v2(tmp_path, suffix=".webm")] == [0, 1]
    assert len(read_v2(tmp_path, "val", suffix=".webm")) == 1


def test_frames_of_v2_are_taken_where_their_list_is(official, caplog):
    (official / V2_TRAIN).write_text("78687 117 0\n")
    with caplog.at_level(logging.INFO):
        records = read_v2(official)
    assert "ssv2, train: the form is frames" in caplog.text
    assert list(records) == [Record("/v/78687/{:06d}.jpg", 0, 117, 1)]
    assert records.label_names == tuple(LABELS)
    assert list(read_v2(official, form="videos", suffix=".webm")) == [
        Record("/v/78687.webm", 0),
        Record("/v/42.webm", 1),
    ]


def test_frames_of_v2_need_no_json_and_then_have_no_names(tmp_path):
    (tmp_path / V2_VAL).write_text("78687 117 0\n")
    assert read_v2(tmp_path, "test").label_names == ()


def frame_lines(video, numbers, name="{0}/{0}_{1:06d}.jpg"):
    return "".join(f'{video} 0 {i} {name.format(video, number)} ""\n' for i, number in enumerate(numbers))


def test_pyslowfasts_frame_list_becomes_a_record_a_video(official):
    lines = frame_lines(42, range(1, 4)) + frame_lines(78687, range(5), name="{0}/{1}.png")
    (official / "train.csv").write_text(HEADER + lines)
    assert list(read_v2(official)) == [
        Record("/v/78687/{:01d}.png", 0, 5, 0),
        Record("/v/42/42_{:06d}.jpg", 1, 3, 1),
    ]


def test_a_video_without_frames_stays_in_the_list_and_is_said(official, caplog):
    (official / "train.csv").write_text(HEADER + frame_lines(42, range(1, 4)))
    records = read_v2(official)
    assert records[0] == Record("/v/78687", 0)
    assert "train.csv has no frames of 1 videos, such as 78687" in caplog.text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "train.csv is empty: it needs a line `original_vido_id video_id frame_id path labels`"),
        ("42 0 0 42/1.jpg\n", "train.csv, line 2: '42 0 0 42/1.jpg' has 4 fields, not original_vido_id"),
        (frame_lines(42, [1, 3]), "line 3: frame '42/42_000003.jpg' does not follow 1 frames from"),
        (frame_lines(7, [1]), "has frames of video 7, which the JSON of the split does not list"),
        (
            frame_lines(42, [1]) + frame_lines(78687, [1]) + frame_lines(42, [1]),
            "frames of video 42 in two places",
        ),
        ('42 0 0 42/frame.jpg ""\n', "line 2: the name of frame '42/frame.jpg' has no number"),
    ],
)
def test_what_is_wrong_with_a_frame_list_is_said(official, lines, message):
    (official / "train.csv").write_text(HEADER + lines)
    with pytest.raises(UserError, match=message):
        read_v2(official)


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("train", [{"id": "1", "template": "Eating [something]"}], "entry 0, video 1: .* 'Eating something'"),
        ("train", [{"id": "1"}], "entry 0: it needs an id and a template; has the test no labels"),
        ("train", [], "train.json lists no video"),
        ("train", {}, "train.json holds a dict, not a list: another file"),
        (
            "train",
            [{"id": "1", "template": 5}],
            "train.json, entry 0: the id '1' or the template 5 is no text",
        ),
        ("train", [{"id": None, "template": "a"}], "entry 0: the id None or the template 'a' is no text"),
        (
            "train",
            [TRAIN[0], TRAIN[1] | {"id": 78687}],
            "entry 1: video 78687 is listed before as 'Holding something', and here as 'Turning the camera",
        ),
        ("labels", {"a": "0", "b": "2"}, "labels.json: its ids are not 0 to 1, each once"),
        ("labels", {"a": "x"}, "labels.json: its ids are not 0 to 0"),
    ],
)
def test_what_is_wrong_with_a_json_is_said(official, name, contents, message):
    (official / f"something-something-v2-{name}.json").write_text(json.dumps(contents))
    with pytest.raises(UserError, match=message):
        read_v2(official, suffix=".webm")


def test_a_video_that_a_json_lists_twice_alike_counts_once_and_is_said(official, caplog):
    path = official / "something-something-v2-train.json"
    path.write_text(json.dumps([*TRAIN, TRAIN[0]]))
    assert [record.path for record in read_v2(official, suffix=".webm")] == ["/v/78687.webm", "/v/42.webm"]
    assert f"{path} lists 1 videos twice, such as 78687: once counts" in caplog.text


def test_missing_jsons_and_unknown_forms_are_said(tmp_path):
    with pytest.raises(
        UserError, match="has no something-something-v2-labels.json and no labels/labels.json"
    ):
        read_v2(tmp_path)
    with pytest.raises(UserError, match="form 'video': ssv2 has auto, videos, frames, frame_csv"):
        read_v2(tmp_path, form="video")
    with pytest.raises(UserError, match="DATA.PATH_TO_DATA_DIR is not set"):
        read_v2("")
    (tmp_path / "something-something-v2-labels.json").write_text("<html>")
    with pytest.raises(UserError, match="labels.json is no JSON file"):
        read_v2(tmp_path)
