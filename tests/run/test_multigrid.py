"""Training with multigrid and balanced classes, from the command line to the files."""

import math

import pytest
import simplejson
from torch.nn.modules.module import register_module_forward_pre_hook

from slowfast_mlp.models.vast import VAST as Vast

VAST = ["MODEL.NAME", "vast", "MODEL.VARIANT", "Nano", "MODEL.ARGS", "{dims: [8, 16, 16, 16]}"]
SIZES = ["DATA.NUM_FRAMES", "8", "DATA.TRAIN_CROP_SIZE", "64", "DATA.TEST_CROP_SIZE", "64"]
SHORT = [*VAST, *SIZES, "DATA.TEST_SHORT_SIZE", "64", "TRAIN.BATCH_SIZE", "2", "LOG_PERIOD", "1"]
SHORT += ["TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1", "TRAIN.EVAL_PERIOD", "0"]


def lines(folder, kind):
    records = map(simplejson.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record for record in records if record["kind"] == kind]


def curve(epoch, epochs, *, warmup=1.0, base=1e-3, start=1e-6, end=1e-6):
    """The learning rate of the tiny config at a fractional epoch."""
    if epoch < warmup:
        return start + (base - start) * epoch / warmup
    return end + (base - end) * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))


def test_the_short_cycle_trains_with_the_clock_of_its_clips(command, tmp_path):
    status, out, _ = command(*SHORT, "MULTIGRID.SHORT_CYCLE", "True", "SOLVER.MAX_EPOCH", "2")
    assert status == 0
    assert (
        "2 videos x 1 views = 2 clips over all processes, 1 steps an epoch, 3 epochs, 3 steps; 3 videos"
        in out
    )
    assert "4B x 8 frames x 32 px, 2B x 8 frames x 48 px, 1B x 8 frames x 64 px" in out
    # 11 videos: 8, and no 4 are left.
    assert [line["step"] for line in lines(tmp_path / "out", "train")] == [1, 2, 3]
    assert (tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00003.pyth").exists()


def test_steps_of_the_short_cycle_get_the_rate_of_the_clips_seen_before(command, tmp_path):
    status, _, _ = command(
        *SHORT, "TRAIN.BATCH_SIZE", "1", "MULTIGRID.SHORT_CYCLE", "True", "SOLVER.MAX_EPOCH", "2"
    )
    assert status == 0
    train = lines(tmp_path / "out", "train")
    # 4 + 2 + 1 + 4 of 11 clips.
    assert [line["step"] for line in train] == list(range(1, 13))
    clock = [epoch + seen / 11 for epoch in range(3) for seen in (0, 4, 6, 7)]
    assert [line["lr"] for line in train] == pytest.approx([curve(time, 3) for time in clock])


@pytest.fixture
def trained_sizes():
    """The sizes [B, 3, T, H, W] of all batches that a VAST has been trained on so far."""
    sizes = []
    hook = register_module_forward_pre_hook(
        lambda module, inputs: (
            sizes.append(tuple(inputs[0].shape)) if isinstance(module, Vast) and module.training else None
        )
    )
    yield sizes
    hook.remove()


def test_the_long_cycle_trains_every_phase_with_its_clips_and_rate(command, tmp_path, trained_sizes):
    settings = ["MULTIGRID.LONG_CYCLE", "True", "SOLVER.MAX_EPOCH", "4", "TRAIN.BATCH_SIZE", "1"]
    status, out, _ = command(*SHORT, *settings)
    assert status == 0
    assert "7 of 13 phases get no epoch, as there are only 6 epochs" in out
    most, half, large = (8, 3, 2, 48, 48), (4, 3, 4, 48, 48), (2, 3, 4, 64, 64)
    # Of 11 videos: one step of 8, two of 4, five of 2, one of 8 in two epochs, and 11 of 1.
    assert trained_sizes == [most, half, half, *[large] * 5, most, most, *[(1, 3, 8, 64, 64)] * 11]
    train = lines(tmp_path / "out", "train")
    assert [line["step"] for line in train] == list(range(1, len(trained_sizes) + 1))
    clock = [0, 1, 1.5, *(2 + step / 5 for step in range(5)), 3, 4, *(5 + step / 11 for step in range(11))]
    rates = [curve(time, 6) * size[0] for time, size in zip(clock, trained_sizes)]
    assert [line["lr"] for line in train] == pytest.approx(rates)


def test_both_cycles_train_together(command, trained_sizes):
    settings = ["MULTIGRID.LONG_CYCLE", "True", "MULTIGRID.SHORT_CYCLE", "True", "SOLVER.MAX_EPOCH", "2"]
    status, out, _ = command(*SHORT, *settings, "MULTIGRID.EPOCH_FACTOR", "1", "TRAIN.BATCH_SIZE", "1")
    assert status == 0
    # Epoch 1 is of the phase with half of the frames, and a batch of 4: 8 of 11, and no 4 are left.
    assert trained_sizes == [
        (8, 3, 4, 32, 32),
        (4, 3, 8, 32, 32), (2, 3, 8, 48, 48), (1, 3, 8, 64, 64), (4, 3, 8, 32, 32),
    ]  # fmt: skip
    assert "1 to 4 steps an epoch, 2 epochs, 5 steps; 3 videos, others every epoch, are left over" in out


def test_a_model_that_takes_any_size_is_tested_with_larger_crops(command):
    status, out, _ = command(*SHORT, "DATA.TEST_CROP_SIZE", "72", "DATA.TEST_SHORT_SIZE", "72")
    assert status == 0
    assert "64 pixels, tested with 72" in out


def test_balanced_training_warns_of_classes_without_videos(command):
    status, out, _ = command(
        "TRAIN.SAMPLER",
        "balanced",
        "MODEL.NUM_CLASSES",
        "10",
        "SOLVER.MAX_EPOCH",
        "1",
        "TEST.ENABLE",
        "False",
    )
    assert status == 0
    assert "2 of 10 classes have no training video and are never drawn, such as class 8" in out
    assert "every class equally often" in out


def test_a_training_does_not_go_on_in_other_cycles(command):
    cycle = ["MULTIGRID.SHORT_CYCLE", "True", "SOLVER.MAX_EPOCH", "1", "TRAIN.BATCH_SIZE", "1"]
    assert command(*SHORT, *cycle, "TEST.ENABLE", "False")[0] == 0
    for change, words in (
        (["MULTIGRID.SHORT_CYCLE", "False"], "MULTIGRID.SHORT_CYCLE True, not False"),
        (["MULTIGRID.EPOCH_FACTOR", "2"], "MULTIGRID.EPOCH_FACTOR 1.5, not 2.0"),
    ):
        status, _, error = command(*SHORT, *cycle, *change)
        assert status == 1 and f"was trained with {words}, which cannot change within a training" in error
