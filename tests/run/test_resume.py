"""Going on after a stop: at every step, bit for bit; with fewer processes, in the same order."""

import itertools
import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.modules.module import register_module_forward_pre_hook

from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.config.load import load_config
from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.errors import Stopped, UserError
from slowfast_mlp.run.main import run
from tests.conftest import TINY
from tests.test_run import FULL, LARGE, NO_WORKERS, assert_equal, metrics, weights

# 2 steps an epoch, 3 epochs; a line every 2 steps, so that odd steps have a window under way.
STEPS = [*FULL, "SOLVER.MAX_EPOCH", "3", "TRAIN.CHECKPOINT_PERIOD_STEPS", "1", "TRAIN.KEEP_LAST", "None"]
TIMES = ("clips_per_sec", "data_wait", "seconds")


def figures(folder):
    """The lines of metrics.jsonl without what a clock says."""
    return [{name: v for name, v in line.items() if name not in TIMES} for line in metrics(folder)]


def names(folder):
    return sorted(path.name for path in (Path(folder) / "checkpoints").iterdir())


def leave_only(folder, name):
    """Deletes what came after a checkpoint, as if the run had been killed behind it."""
    paths = checkpoint.newest_first(str(folder))
    for path in itertools.takewhile(lambda path: not path.endswith(name), paths):
        os.remove(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, corpus):
    """The folder of an unbroken run that was saved after every step."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.yaml").write_text(TINY)
    places = ["DATA.PATH_TO_DATA_DIR", str(corpus), "OUTPUT_DIR", str(folder), "NUM_GPUS", "0"]
    run(load_config(str(folder / "tiny.yaml"), [*places, *STEPS]))
    return folder


def copied(whole, folder):
    shutil.copytree(whole, folder)
    return folder


def test_a_run_is_saved_after_steps_epochs_and_the_best_validation(whole):
    assert names(whole) == [
        "best.pyth",
        "checkpoint_epoch_00001.pyth",
        "checkpoint_epoch_00001_step_00001.pyth",
        "checkpoint_epoch_00002.pyth",
        "checkpoint_epoch_00002_step_00001.pyth",
        "checkpoint_epoch_00003.pyth",
        "checkpoint_epoch_00003_step_00001.pyth",
    ]
    accuracies = {line["epoch"]: line["top1"] for line in metrics(whole) if line["kind"] == "val"}
    best = max(accuracies, key=lambda epoch: (accuracies[epoch], -epoch))
    assert checkpoint.read(f"{whole}/checkpoints/best.pyth")["epoch"] + 1 == best
    last = checkpoint.read(f"{whole}/checkpoints/checkpoint_epoch_00003_step_00001.pyth")
    before = max(accuracies[1], accuracies[2])
    assert last["best_state"]["top1"] == before


@pytest.mark.parametrize("name", ["00001_step_00001", "00001", "00002_step_00001", "00003_step_00001"])
def test_a_run_resumed_at_any_step_equals_the_unbroken_one(configure, tmp_path, whole, name, capsys):
    broken = copied(whole, tmp_path / "broken")
    leave_only(broken, f"checkpoint_epoch_{name}.pyth")
    run(configure(*STEPS, "DATA_LOADER.NUM_WORKERS", "0", out="broken"))
    assert f"resumed from {broken}/checkpoints/checkpoint_epoch_{name}.pyth" in capsys.readouterr().out
    assert figures(broken) == figures(whole)
    assert names(broken) == names(whole)
    for path in checkpoint.newest_first(str(whole)):
        one, other = (
            checkpoint.read(str(folder / "checkpoints" / Path(path).name)) for folder in (whole, broken)
        )
        assert_equal(one["model_state"], other["model_state"])
        for key in ("sampler_state", "best_state", "scaler_state", "epoch", "step", "steps_done"):
            assert one[key] == other[key]
        for parameter, state in one["optimizer_state"]["state"].items():
            assert_equal(state, other["optimizer_state"]["state"][parameter])


def test_a_kill_before_the_first_checkpoint_leaves_no_line_twice(configure, tmp_path, whole):
    broken = copied(whole, tmp_path / "broken")
    for path in checkpoint.newest_first(str(broken)):
        os.remove(path)
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')  # cut off by the kill
    run(configure(*STEPS, out="broken"))
    assert figures(broken) == figures(whole)
    assert_equal(weights(broken, 3), weights(whole, 3))


def test_a_validation_that_a_kill_cut_off_is_made_up_for(configure, tmp_path, whole):
    broken = copied(whole, tmp_path / "broken")
    leave_only(broken, "checkpoint_epoch_00002.pyth")
    lines = (broken / "metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"val"' not in line or '"epoch": 1' in line]
    (broken / "metrics.jsonl").write_text("".join(kept))
    (broken / "checkpoints" / "best.pyth").unlink()
    run(configure(*STEPS, out="broken"))
    assert figures(broken) == figures(whole)


def test_tensorboard_shows_every_step_once_after_a_resume(configure, tmp_path):
    words = [*STEPS, "TENSORBOARD.ENABLE", "True", "LOG_PERIOD", "1"]
    run(configure(*words))
    leave_only(tmp_path / "out", "checkpoint_epoch_00002_step_00001.pyth")
    run(configure(*words))
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    final, best = events.Scalars("hparam/final_top1"), events.Scalars("hparam/best_top1")
    top1 = [event.value for event in events.Scalars("val/top1")]
    assert [event.value for event in final] == top1 and best[-1].value == max(top1)


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(configure, tmp_path, whole, capsys):
    broken = copied(whole, tmp_path / "broken")
    newest = Path(checkpoint.newest(str(broken)))
    newest.write_bytes(newest.read_bytes()[:-1000])
    run(configure(*STEPS, out="broken"))
    printed = capsys.readouterr().out
    assert f"warning: {newest} is damaged" in printed
    assert f"resumed from {broken}/checkpoints/checkpoint_epoch_00003_step_00001.pyth" in printed
    assert f"{newest} is damaged and now called {newest}.damaged" in printed
    assert_equal(weights(broken, 3), weights(whole, 3))


def test_with_only_damaged_checkpoints_nothing_is_trained(configure, tmp_path, whole):
    broken = copied(whole, tmp_path / "broken")
    for path in checkpoint.newest_first(str(broken)):
        Path(path).write_bytes(b"")
    with pytest.raises(UserError, match="00001_step_00001.pyth is damaged .* no whole checkpoint before it"):
        run(configure(*STEPS, out="broken"))


def test_only_the_newest_checkpoints_are_kept(configure, tmp_path):
    run(configure(*STEPS, "TRAIN.KEEP_LAST", "2", "TRAIN.KEEP_BEST", "False"))
    assert names(tmp_path / "out") == [
        "checkpoint_epoch_00003.pyth",
        "checkpoint_epoch_00003_step_00001.pyth",
    ]


def test_minutes_save_within_an_epoch(configure, tmp_path):
    run(configure(*FULL, "SOLVER.MAX_EPOCH", "1", "TRAIN.CHECKPOINT_PERIOD_MINUTES", "1e-6"))
    assert "checkpoint_epoch_00001_step_00001.pyth" in names(tmp_path / "out")


def test_two_processes_resume_within_an_epoch_bit_for_bit(configure, tmp_path):
    words = [*STEPS, "TRAIN.CHECKPOINT_PERIOD_STEPS", "3", *NO_WORKERS]
    launch(partial(run, configure(*words, out="whole")), num_gpus=0, processes=2)
    broken = copied(tmp_path / "whole", tmp_path / "broken")
    leave_only(broken, "checkpoint_epoch_00002_step_00001.pyth")
    launch(partial(run, configure(*words, out="broken")), num_gpus=0, processes=2)
    assert_equal(weights(broken, 3), weights(tmp_path / "whole", 3))
    assert figures(broken) == figures(tmp_path / "whole")


SHARDED = [
    *("TRAIN.SHARD_OPTIMIZER", "True", "TRAIN.EMA_DECAY", "0.8", "TRAIN.ACCUMULATE_STEPS", "2"),
    *("BN.USE_PRECISE_STATS", "True", "BN.NUM_BATCHES_PRECISE", "2", "MODEL.ACT_CHECKPOINT", "True"),
]


@pytest.mark.parametrize(("processes", "large"), [(1, LARGE), (2, SHARDED)], ids=["one", "two"])
def test_what_large_runs_set_resumes_within_an_epoch_bit_for_bit(configure, tmp_path, processes, large):
    words = [*STEPS, *large, *NO_WORKERS]
    launch(partial(run, configure(*words, out="whole")), num_gpus=0, processes=processes)
    broken = copied(tmp_path / "whole", tmp_path / "broken")
    leave_only(broken, "checkpoint_epoch_00002_step_00001.pyth")
    launch(partial(run, configure(*words, out="broken")), num_gpus=0, processes=processes)
    assert figures(broken) == figures(tmp_path / "whole")
    for path in checkpoint.newest_first(str(tmp_path / "whole")):
        whole, other = (
            checkpoint.read(str(folder / Path(path).relative_to(tmp_path / "whole")))
            for folder in (tmp_path / "whole", broken)
        )
        assert_equal(whole["model_state"], other["model_state"])
        assert_equal(whole["ema_state"]["weights"], other["ema_state"]["weights"])
        assert whole["ema_state"]["num_updates"] == other["ema_state"]["num_updates"]
        for parameter, state in whole["optimizer_state"]["state"].items():
            assert_equal(state, other["optimizer_state"]["state"][parameter])
    average, last = whole["ema_state"]["weights"], whole["model_state"]
    assert any(not torch.equal(average[name], last[name]) for name in last)


@pytest.mark.parametrize("average", ["0", "0.8"])
def test_a_signal_between_the_batches_of_precise_statistics_is_heeded_there(configure, tmp_path, average):
    words = [
        *STEPS,
        "BN.USE_PRECISE_STATS",
        "True",
        "TRAIN.EMA_DECAY",
        average,
        "DATA_LOADER.NUM_WORKERS",
        "0",
    ]
    run(configure(*words, out="whole"))
    passes = []

    def ask_to_stop(module, inputs):
        # Momentum 0 is that of a batch norm whose statistics are recomputed.
        if isinstance(module, torch.nn.BatchNorm3d) and module.training and module.momentum == 0:
            passes.append(module)
            if len(passes) == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    hook = register_module_forward_pre_hook(ask_to_stop)
    try:
        with pytest.raises(Stopped, match=r"stopped by SIGTERM after epoch 1; saved .*epoch_00001.pyth"):
            run(configure(*words, out="broken"))
    finally:
        hook.remove()
    num_norms = len(set(passes))
    assert len(passes) == num_norms  # of the first batch of two
    newest = checkpoint.newest(str(tmp_path / "broken"))
    assert checkpoint.read(newest)["is_settled"] is False
    run(configure(*words, out="broken"))
    assert figures(tmp_path / "broken") == figures(tmp_path / "whole")
    for path in checkpoint.newest_first(str(tmp_path / "whole")):
        whole, other = (
            checkpoint.read(str(tmp_path / out / Path(path).relative_to(tmp_path / "whole")))
            for out in ("whole", "broken")
        )
        assert_equal(whole["model_state"], other["model_state"])
        assert whole["is_settled"] and other["is_settled"]


def test_an_average_that_is_asked_for_later_begins_with_the_weights_of_then(
    configure, tmp_path, whole, capsys
):
    copied(whole, tmp_path / "broken")
    leave_only(tmp_path / "broken", "checkpoint_epoch_00002.pyth")
    run(configure(*STEPS, "TRAIN.EMA_DECAY", "0.8", out="broken"))
    assert "holds no ema_state" in capsys.readouterr().out
    first = checkpoint.read(f"{tmp_path}/broken/checkpoints/checkpoint_epoch_00003_step_00001.pyth")
    before = checkpoint.read(f"{tmp_path}/broken/checkpoints/checkpoint_epoch_00002.pyth")["model_state"]
    average = first["ema_state"]["weights"]["head.weight"]
    assert torch.allclose(average, 0.8 * before["head.weight"] + 0.2 * first["model_state"]["head.weight"])
    assert first["ema_state"]["num_updates"] == 1
    run(configure(*STEPS, "SOLVER.MAX_EPOCH", "4", out="broken"))
    assert "are dropped, as TRAIN.EMA_DECAY is 0" in capsys.readouterr().out


def listed(folder):
    lines = (folder / "skipped_steps.jsonl").read_text().splitlines()
    return [(line["epoch"], line["step"]) for line in map(json.loads, lines)]


def test_a_run_that_too_many_skipped_steps_ended_goes_on_with_the_next_step(configure, tmp_path):
    words = ["SOLVER.BASE_LR", "1e30", "SOLVER.WARMUP_EPOCHS", "0", "SOLVER.CLIP_GRAD_L2NORM", "None"]
    words += ["SOLVER.MAX_NONFINITE_STEPS", "2", "LOG_PERIOD", "1", "TRAIN.EVAL_PERIOD", "0"]
    out = tmp_path / "out"
    with pytest.raises(
        UserError, match="in 2 steps in a row, up to step 1 of epoch 2, .*00002_step_00001.pyth holds"
    ):
        run(configure(*words))
    assert names(out) == ["checkpoint_epoch_00001.pyth", "checkpoint_epoch_00002_step_00001.pyth"]
    with pytest.raises(
        UserError, match="in 3 steps in a row, up to step 2 of epoch 2, .*epoch_00002.pyth holds"
    ):
        run(configure(*words))
    assert listed(out) == [(1, 2), (2, 1), (2, 2)]
    leave_only(out, "checkpoint_epoch_00001.pyth")  # as a kill before the second would
    with pytest.raises(UserError, match="in 2 steps in a row, up to step 1 of epoch 2"):
        run(configure(*words))
    assert listed(out) == [(1, 2), (2, 1)]


def test_another_number_of_processes_goes_on_in_the_same_order(configure, tmp_path, capsys):
    words = [*STEPS, "MIXUP.ENABLE", "False", "MODEL.SYNC_BN", "True", "MODEL.ARGS.drop_path", "0"]
    words += NO_WORKERS
    launch(partial(run, configure(*words, out="two")), num_gpus=0, processes=2)
    broken = copied(tmp_path / "two", tmp_path / "broken")
    leave_only(broken, "checkpoint_epoch_00002_step_00001.pyth")
    capsys.readouterr()
    run(configure(*words, out="broken"))
    assert "resumed with processes 1 (was 2): the order of the videos" in capsys.readouterr().out
    losses = [
        [line["loss"] for line in metrics(folder) if line["kind"] == "train"]
        for folder in (tmp_path / "two", broken)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4) and len(losses[0]) == 3


def test_another_seed_cannot_go_on(configure, tmp_path, whole):
    copied(whole, tmp_path / "broken")
    leave_only(tmp_path / "broken", "checkpoint_epoch_00002_step_00001.pyth")
    with pytest.raises(UserError, match=r"step_00001.pyth: The training to resume had RNG_SEED 0, not 1"):
        run(configure(*STEPS, "RNG_SEED", "1", out="broken"))


@pytest.mark.gpu
def test_a_run_on_a_gpu_goes_on_with_the_same_draws(configure, tmp_path):
    words = [*STEPS, "NUM_GPUS", "1"]
    run(configure(*words, out="whole"))
    broken = copied(tmp_path / "whole", tmp_path / "broken")
    leave_only(broken, "checkpoint_epoch_00002_step_00001.pyth")
    run(configure(*words, out="broken"))
    one, other = weights(tmp_path / "whole", 3), weights(broken, 3)
    for name, value in one.items():  # kernels that add in any order may round otherwise
        assert torch.allclose(value.float(), other[name].float(), atol=1e-4), name
