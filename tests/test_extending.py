"""docs/extending.md holds: its backbone and its data set, as printed, train and test together."""

import json
import re

import pytest
import torch

from slowfast_mlp import models
from slowfast_mlp.data import datasets
from slowfast_mlp.data.video_io.encode import write_video
from tests.conftest import ROOT
from tests.test_formats import clip

NAMES = ("Archery", "Biking")


@pytest.fixture
def added_files(tmp_path, monkeypatch):
    """The files of the page, as if they lay next to the others."""
    text = (ROOT / "docs" / "extending.md").read_text()
    blocks = dict(re.findall(r"`slowfast_mlp/([\w/]+\.py)`.*?```python\n(.*?)```", text, re.DOTALL))
    assert sorted(blocks) == ["data/datasets/ucf101.py", "models/shiftmlp.py"]
    for package, name in ((datasets, "data/datasets/ucf101.py"), (models, "models/shiftmlp.py")):
        path = tmp_path / "added" / name
        path.parent.mkdir(parents=True)
        path.write_text(blocks[name])
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(path.parent)])


@pytest.fixture
def ucf101(tmp_path):
    """Four videos of two classes, listed as UCF101 is."""
    folder = tmp_path / "ucf101"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
    videos = [f"{NAMES[n % 2]}/v_{NAMES[n % 2]}_g0{n}_c01.avi" for n in range(4)]
    for number, video in enumerate(videos):
        write_video(folder / video, clip(number % 2), fps=12, options={"g": "12"}, codec="libx264")
    (folder / "classInd.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(NAMES, start=1)))
    (folder / "trainlist01.txt").write_text("".join(f"{v} {n % 2 + 1}\n" for n, v in enumerate(videos)))
    (folder / "testlist01.txt").write_text("\n".join(videos))
    return folder


def test_the_backbone_and_the_data_set_of_the_page_train_and_test(added_files, ucf101, command, tmp_path):
    status, printed, errors = command(
        *("MODEL.NAME", "shiftmlp", "MODEL.ARGS", "{}", "MODEL.NUM_CLASSES", 2),
        *("TRAIN.DATASET", "ucf101", "DATA.PATH_TO_DATA_DIR", ucf101, "SOLVER.MAX_EPOCH", 1),
        *("SOLVER.WARMUP_EPOCHS", 0, "SOLVER.LAYER_DECAY", 0.8, "MODEL.ACT_CHECKPOINT", True),
    )
    assert status == 0, errors
    assert "test results" in printed
    rows = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + 4
    stored = torch.load(tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00001.pyth", weights_only=True)
    assert "Archery" in json.dumps(stored, default=str)


def test_what_the_files_refuse_is_told(added_files, ucf101, command):
    shift = ("MODEL.NAME", "shiftmlp", "MODEL.NUM_CLASSES", 2, "DATA.PATH_TO_DATA_DIR", ucf101)
    status, _, errors = command(*shift, "TRAIN.DATASET", "ucf101", "MODEL.ARGS", "{dim: 12}")
    assert status != 0 and "MODEL.ARGS.dim 12: give a multiple of 8." in errors
    (ucf101 / "trainlist01.txt").write_text("Archery/a.avi 1\nBoating/b.avi 3\n")
    status, _, errors = command(*shift, "TRAIN.DATASET", "ucf101", "MODEL.ARGS", "{}")
    assert status != 0 and "trainlist01.txt, line 2: 'Boating' is not in classInd.txt." in errors
