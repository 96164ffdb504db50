"""tools/prepare_data.py as a function, and a small Kinetics for it."""

import shutil

import pytest

from tests.apps.prepare_data.running import HEADING
from tests.conftest import main_of


@pytest.fixture
def prepare(capsys):
    """Runs the tool with one process; returns status, lines of output, and error."""

    def prepare(*words):
        status = main_of("prepare_data")([*map(str, words), "--jobs", "1"])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err

    return prepare


@pytest.fixture
def kinetics(tmp_path, write_numbered):
    """Annotations and videos as people have them: class folders and flat, with times in the name or not."""
    videos = tmp_path / "videos"
    for number, name in enumerate(
        (
            "train/riding a bike/abc_000012_000022.mp4",
            "train/abseiling/d-f.mkv",
            "val/abseiling/ghi_000001_000011.mp4",
            "jkl_000100_000110.mp4",
        )
    ):
        path = videos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(write_numbered(f"a{path.suffix}", 30 + number, g="250"), path)
    (tmp_path / "train.csv").write_text(
        f"{HEADING}riding a bike,abc,12,22,train,0\nabseiling,d-f,3,13,train,0\nabseiling,gone,0,10,train,0\n"
    )
    (tmp_path / "validate.csv").write_text(
        f"{HEADING}abseiling,ghi,1,11,validate,0\nriding a bike,jkl,100,110,validate,0\n"
    )
    return tmp_path
