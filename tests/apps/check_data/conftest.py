"""tools/check_data.py as a function, and good and bad videos for it."""

import shutil
from pathlib import Path

import pytest

from tests.apps.check_data.pictures import write_jpeg
from tests.conftest import TINY, main_of, numbered_frames


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
