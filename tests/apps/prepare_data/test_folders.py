"""Your own videos in class folders, as lists."""

import shutil

import pytest

from tests.apps.prepare_data.running import trains_and_tests


@pytest.fixture
def fill(tmp_path, write_numbered):
    """Makes videos of these paths; returns their folder."""
    whole = write_numbered("a.mp4", 30, g="250")

    def fill(*names):
        for name in names:
            path = tmp_path / "my videos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(whole, path)
        return tmp_path / "my videos"

    return fill


def words(videos, *more):
    return ("folders", "--videos", videos, "--out", videos.parent / "lists", *more)


def test_a_share_of_every_class_goes_to_val_and_the_lists_train(prepare, fill, command, tmp_path):
    videos = fill(*(f"{name}/{number}.mp4" for name in ("waving", "clapping") for number in range(10)))
    status, output, _ = prepare(*words(videos, "--val-share", "0.2"))
    lists = tmp_path / "lists"
    assert status == 0
    train, val = ((lists / name).read_text().splitlines() for name in ("train.csv", "val.csv"))
    assert (len(train), len(val)) == (16, 4)
    assert sorted(line.split("/")[0] for line in val) == ["clapping", "clapping", "waving", "waving"]
    assert all(line.endswith(" 0" if line.startswith("clapping") else " 1") for line in train + val)
    assert not set(train) & set(val)
    assert (lists / "categories.txt").read_text() == "clapping\t0\nwaving\t1\n"
    trains_and_tests(command, output, num_tested=4)


def test_videos_that_join_later_leave_the_others_on_their_side(prepare, fill, tmp_path):
    videos = fill(*(f"{name}/{number}.mp4" for name in "ab" for number in range(10)))
    prepare(*words(videos))
    before = (tmp_path / "lists" / "val.csv").read_text().splitlines()
    fill("a/deep/10.mp4")
    prepare(*words(videos))
    after = (tmp_path / "lists" / "val.csv").read_text().splitlines()
    assert after == before or after == sorted([*before[1:], "a/deep/10.mp4 0"])


def test_folders_of_splits_are_taken_as_they_are(prepare, fill, tmp_path):
    videos = fill("train/a/1.mp4", "train/b/2.webm", "Valid/b/3.mp4", "test/a/4.mp4")
    status, _, _ = prepare(*words(videos))
    assert status == 0
    lists = {path.name: path.read_text() for path in (tmp_path / "lists").iterdir()}
    assert lists == {
        "train.csv": "train/a/1.mp4 0\ntrain/b/2.webm 1\n",
        "val.csv": "Valid/b/3.mp4 1\n",
        "test.csv": "test/a/4.mp4 0\n",
        "categories.txt": "a\t0\nb\t1\n",
    }


def test_what_is_left_out_is_told(prepare, fill, tmp_path):
    videos = fill("a/1.mp4", "a/2.mp4", "b/3.mp4", "b/4.mp4", "loose.mp4", "c/notes.txt", ".hidden/5.mp4")
    status, _, _ = prepare(*words(videos))
    assert status == 1
    assert (tmp_path / "lists" / "missing.txt").read_text() == (
        "c: has no video\nloose.mp4: is in no class's folder\n"
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.mp4", "a/2.mp4"], "has videos of 1 classes; give a folder for each of two or more"),
        (["a/1.mp4", "b/2.mp4", "b/3.mp4"], "The class 'a' has a single video"),
        (["train/a/1.mp4", "c/2.mp4"], "has folders of splits (train) next to others, such as c"),
        (["val/a/1.mp4", "val/b/2.mp4"], "has val and no train: it needs train"),
        (
            ["train/a/1.mp4", "train/b/1.mp4", "val/B/2.mp4"],
            "val has classes that train lacks, such as 'B'. Spell their names alike.",
        ),
    ],
)
def test_folders_that_are_no_data_set_are_refused(prepare, fill, names, message):
    status, _, error = prepare(*words(fill(*names)))
    assert status == 2
    assert message in error


def test_a_share_is_between_0_and_1(prepare, fill, capsys):
    with pytest.raises(SystemExit):
        prepare(*words(fill("a/1.mp4"), "--val-share", "1"))
    assert "1 is not between 0 and 1" in capsys.readouterr().err
