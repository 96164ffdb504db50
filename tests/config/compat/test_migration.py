"""A user of a fork: its YAML, its lists in its order of labels, and its checkpoint, through a test."""

import csv

import pytest
import torch

from slowfast_mlp.builders import model
from slowfast_mlp.config.load import load_config
from slowfast_mlp.data.datasets.synthetic import CLASSES

# MorphMLP's keys and class names, in a size for tests.
THEIRS = """
TRAIN: {ENABLE: False, DATASET: kinetics, BATCH_SIZE: 8}
DATA:
  USE_OFFSET_SAMPLING: True
  DECODING_BACKEND: torchvision
  NUM_FRAMES: 16
  SAMPLING_RATE: 2
  TRAIN_JITTER_SCALES: [36, 40]
  TRAIN_CROP_SIZE: 32
  TEST_CROP_SIZE: 32
  INPUT_CHANNEL_NUM: [3]
  PATH_LABEL_SEPARATOR: ","
MORPH:
  LAYERS: [1, 1, 1, 1]
  EMBED_DIMS: [8, 16, 32, 64]
  SEGMENT_DIM: [8, 8, 4, 1]
MODEL: {NUM_CLASSES: 8, ARCH: morph, MODEL_NAME: MorphMLP, LOSS_FUNC: soft_cross_entropy}
SOLVER: {OPTIMIZING_METHOD: adamw}
TEST: {ENABLE: True, DATASET: kinetics, BATCH_SIZE: 8, NUM_ENSEMBLE_VIEWS: 2, NUM_SPATIAL_CROPS: 3}
NUM_GPUS: 0
"""
OURS = """
TRAIN: {ENABLE: False, DATASET: kinetics, PRECISION: fp32}
TEST: {BATCH_SIZE: 8, NUM_ENSEMBLE_VIEWS: 2, NUM_SPATIAL_CROPS: 3}
DATA:
  {SAMPLING_RATE: 2, TRAIN_CROP_SIZE: 32, TEST_CROP_SIZE: 32, TEST_SHORT_SIZE: 36, PATH_LABEL_SEPARATOR: ","}
MODEL:
  NAME: morphmlp
  VARIANT: S
  NUM_CLASSES: 8
  ARGS: {depths: [1, 1, 1, 1], dims: [8, 16, 32, 64], chunk_lens: [8, 8, 4, 1]}
NUM_GPUS: 0
"""
ORDER = (5, 3, 7, 0, 1, 6, 2, 4)  # their number of each class, which is not alphabetical


@pytest.fixture
def fork(tmp_path, corpus):
    """A folder as a user of the fork has it: lists with commas, names by number, YAML, checkpoint."""
    for split in ("val", "test"):
        lines = [line.rsplit(" ", 1) for line in (corpus / f"{split}.csv").read_text().splitlines()]
        text = "".join(f"{corpus / path},{ORDER[int(label)]}\n" for path, label in lines)
        (tmp_path / f"{split}.csv").write_text(text)
    names = "".join(f"{name}\t{number}\n" for name, number in zip(CLASSES, ORDER))
    (tmp_path / "kinetics_400_categroies.txt").write_text(names)
    for name, text in (("theirs", THEIRS), ("ours", OURS)):
        (tmp_path / f"{name}.yaml").write_text(text)
    config = load_config(str(tmp_path / "theirs.yaml"))
    torch.manual_seed(0)
    net = model.model(config.model, num_frames=16, crop_size=32, test_crop_size=32)
    with torch.no_grad():
        net.head.weight.mul_(50)  # so that videos get different classes
    contents = {
        "epoch": 59,
        "model_state": net.state_dict(),
        "optimizer_state": {},
        "scaler": {},
        "cfg": THEIRS,  # PySlowFast stores its own settings as text
    }
    torch.save(contents, tmp_path / "checkpoint_epoch_00060.pyth")
    return tmp_path


def predictions_of(main, fork, name, *overrides):
    """Rows of predictions.csv after a test with the settings of `name`.yaml."""
    out = fork / f"out_{name}"
    places = ["DATA.PATH_TO_DATA_DIR", str(fork), "OUTPUT_DIR", str(out)]
    weights = ["TEST.CHECKPOINT_FILE_PATH", str(fork / "checkpoint_epoch_00060.pyth")]
    assert main(["--cfg", str(fork / f"{name}.yaml"), *places, *weights, *overrides]) == 0
    with open(out / "predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_their_file_gives_the_predictions_of_ours(main, fork):
    theirs, ours = predictions_of(main, fork, "theirs"), predictions_of(main, fork, "ours")
    assert theirs == ours and len(theirs) == 7


def test_their_numbers_of_the_classes_have_their_names(main, fork):
    rows = predictions_of(main, fork, "theirs", "DATA.ARGS.label_names", "kinetics_400_categroies.txt")
    # The videos of the corpus are named after their class.
    assert all(f"/{row['label_name']}_" in row["path"] for row in rows)
    name_of = {str(number): name for name, number in zip(CLASSES, ORDER)}
    assert [row["class1_name"] for row in rows] == [name_of[row["class1"]] for row in rows]


def test_their_checkpoint_starts_a_training(main, fork, corpus):
    lines = (corpus / "train.csv").read_text().splitlines()
    split = [line.rsplit(" ", 1) for line in lines]
    (fork / "train.csv").write_text(
        "".join(f"{corpus / path},{ORDER[int(label)]}\n" for path, label in split)
    )
    words = [
        "TRAIN.ENABLE",
        "True",
        "SOLVER.MAX_EPOCH",
        "1",
        "TEST.ENABLE",
        "False",
        "SOLVER.BASE_LR",
        "1e-3",
    ]
    places = [
        "DATA.PATH_TO_DATA_DIR",
        str(fork),
        "OUTPUT_DIR",
        str(fork / "out"),
        "DATA_LOADER.NUM_WORKERS",
        "1",
    ]
    start = [
        "MORPH.PRETRAIN_PATH",
        str(fork / "checkpoint_epoch_00060.pyth"),
        "SOLVER.WARMUP_START_LR",
        "1e-6",
    ]
    assert main(["--cfg", str(fork / "theirs.yaml"), *words, *places, *start]) == 0
    log = (fork / "out" / "stdout.log").read_text()
    assert f"started from {fork / 'checkpoint_epoch_00060.pyth'}: 132 entries loaded\n" in log
