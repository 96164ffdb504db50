"""The whole path, from the command line to the files: on small rendered videos, in one process and in two."""

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import simplejson
import torch

from slowfast_mlp.config.load import dump_config, load_config
from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.errors import UserError
from slowfast_mlp.run.main import run
from tests.conftest import ROOT, TINY


def metrics(folder):
    return [simplejson.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def losses(folder):
    return [record["loss"] for record in metrics(folder) if record["kind"] == "train"]


def weights(folder, epoch=2):
    path = Path(folder) / "checkpoints" / f"checkpoint_epoch_{epoch:05d}.pyth"
    return torch.load(path, weights_only=True)["model_state"]


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_writes_what_it_says(configure, tmp_path, capsys):
    config = configure("TENSORBOARD.ENABLE", "True")
    run(config)
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    files = {"config.yaml", "json_stats.log", "metrics.jsonl", "predictions.csv", "stdout.log"}
    assert names == {"checkpoints", "tensorboard", "environment.json", *files}
    assert (out / "config.yaml").read_text() == dump_config(config)
    checkpoint = torch.load(out / "checkpoints" / "checkpoint_epoch_00002.pyth", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["cfg"]) == (1, dump_config(config))
    printed = capsys.readouterr().out
    for part in (
        "11 train, 8 val, 7 test videos",
        "GFLOPs a view",
        "4 videos x 1 views = 4 clips over all",
        "2 steps an epoch",
        "top-1",
        "2 x 3 views",
        "7/7 with a view",
        "predictions.csv",
        "clips/s",
        "data wait",
        "eta",
    ):
        assert part in printed, part
    kinds = [record["kind"] for record in metrics(out)]
    assert kinds == ["train", "train_epoch", "val"] * 2 + ["test"]
    (tested,) = [record for record in metrics(out) if record["kind"] == "test"]
    correct = sum(
        line.split(",")[1] == line.split(",")[3]
        for line in (out / "predictions.csv").read_text().splitlines()[1:]
    )
    assert tested["top1"] == pytest.approx(100 * correct / 7)
    final = (out / "json_stats.log").read_text().splitlines()[-1]
    assert simplejson.loads(final.removeprefix("json_stats: "))["top1_acc"] == f"{tested['top1']:.2f}"


def test_a_run_repeats_bit_for_bit_with_any_number_of_workers(configure, tmp_path):
    run(configure(out="one"))
    run(configure("DATA_LOADER.NUM_WORKERS", "0", out="two"))
    run(configure("RNG_SEED", "1", out="three"))
    assert losses(tmp_path / "one") == losses(tmp_path / "two") != losses(tmp_path / "three")
    assert_equal(weights(tmp_path / "one"), weights(tmp_path / "two"))
    predictions = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("one", "two")]
    assert predictions[0] == predictions[1]


def test_a_resumed_run_equals_the_unbroken_one(configure, tmp_path):
    run(configure(out="whole"))
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    (tmp_path / "broken" / "checkpoints" / "checkpoint_epoch_00002.pyth").unlink()
    run(configure(out="broken"))
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert losses(tmp_path / "broken")[-1:] == losses(tmp_path / "whole")[-1:]
    assert (tmp_path / "whole" / "predictions.csv").read_bytes() == (
        tmp_path / "broken" / "predictions.csv"
    ).read_bytes()


# Every process that several ranks start for their loaders costs seconds.
NO_WORKERS = ["DATA_LOADER.NUM_WORKERS", "0"]
FULL = [
    *("AUG.ENABLE", "True", "AUG.AA_TYPE", "rand-m7-n4-mstd0.5-inc1", "AUG.NUM_SAMPLE", "2"),
    *("AUG.RE_PROB", "0.5", "MIXUP.ENABLE", "True", "DATA.RANDOM_FLIP", "True", "TEST.ENABLE", "False"),
]


def test_a_run_with_all_augmentation_repeats_and_resumes_bit_for_bit(configure, tmp_path, capsys):
    run(configure(*FULL, out="whole"))
    printed = capsys.readouterr().out
    assert "rand-m7-n4-mstd0.5-inc1, erasing 0.5, Mixup 0.8, CutMix 1; exact" in printed
    assert "4 videos x 2 views = 8 clips over all processes, 2 steps an epoch" in printed
    assert " top1 " not in "".join(line for line in printed.splitlines() if line.startswith("train"))
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    (tmp_path / "broken" / "checkpoints" / "checkpoint_epoch_00002.pyth").unlink()
    run(configure(*FULL, "DATA_LOADER.NUM_WORKERS", "0", out="broken"))
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert losses(tmp_path / "broken")[-1:] == losses(tmp_path / "whole")[-1:]


LARGE = [
    *("TRAIN.ACCUMULATE_STEPS", "2", "TRAIN.EMA_DECAY", "0.8", "TRAIN.EMA_WARMUP", "True"),
    *("BN.USE_PRECISE_STATS", "True", "BN.NUM_BATCHES_PRECISE", "1", "MODEL.ACT_CHECKPOINT", "True"),
    *("SOLVER.LAYER_DECAY", "0.8", "SOLVER.OPTIMIZING_METHOD", "sgd", "SOLVER.BASE_LR", "0.1"),
]


def test_a_run_with_what_large_runs_set_resumes_bit_for_bit_and_tests_the_average(
    configure, tmp_path, capsys
):
    run(configure(*LARGE, out="whole"))
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    (tmp_path / "broken" / "checkpoints" / "checkpoint_epoch_00002.pyth").unlink()
    run(configure(*LARGE, out="broken"))
    files = [tmp_path / name / "checkpoints" / "checkpoint_epoch_00002.pyth" for name in ("whole", "broken")]
    whole, broken = (torch.load(file, weights_only=True) for file in files)
    assert_equal(whole["model_state"], broken["model_state"])
    assert_equal(whole["ema_state"]["weights"], broken["ema_state"]["weights"])
    assert whole["ema_state"]["num_updates"] == broken["ema_state"]["num_updates"] == 4
    rates = [group["lr"] for group in whole["optimizer_state"]["param_groups"]]
    assert rates[-1] == pytest.approx(rates[0] / 0.8 ** (len(rates) // 2 - 1))
    predictions = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("whole", "broken")]
    assert predictions[0] == predictions[1]
    # The average alone, as weights to test, gives the same predictions; the last weights give others.
    for name, weights_to_test in (("average", whole["ema_state"]["weights"]), ("last", whole["model_state"])):
        torch.save({"model_state": weights_to_test, "cfg": whole["cfg"]}, tmp_path / f"{name}.pyth")
        arguments = ["TEST.CHECKPOINT_FILE_PATH", str(tmp_path / f"{name}.pyth"), "TRAIN.ENABLE", "False"]
        run(configure(*LARGE, *arguments, out=name))
        assert ((tmp_path / name / "predictions.csv").read_bytes() == predictions[0]) is (name == "average")


def test_two_processes_train_with_shards_as_without(configure, tmp_path):
    arguments = ["TEST.ENABLE", "False", "TRAIN.EVAL_PERIOD", "0", "SOLVER.MAX_EPOCH", "1", *NO_WORKERS]
    for shard in ("False", "True"):
        config = configure(*arguments, "TRAIN.SHARD_OPTIMIZER", shard, out=shard)
        launch(partial(run, config), num_gpus=0, processes=2)
    assert_equal(weights(tmp_path / "False", epoch=1), weights(tmp_path / "True", epoch=1))
    run(configure(*arguments, "SOLVER.MAX_EPOCH", "2", out="True"))  # alone, from the shards of two
    assert_equal(weights(tmp_path / "False", epoch=1), weights(tmp_path / "True", epoch=1))


def test_no_training_accuracy_is_reported_of_mixed_clips(configure, tmp_path):
    run(configure("MIXUP.ENABLE", "True", "TEST.ENABLE", "False", out="mixed"))
    run(configure("TEST.ENABLE", "False", out="plain"))
    for name, reported in (("mixed", False), ("plain", True)):
        lines = [line for line in metrics(tmp_path / name) if line["kind"] != "val"]
        assert {"top1" in line for line in lines} == {"top5" in line for line in lines} == {reported}
        stats = (tmp_path / name / "json_stats.log").read_text().splitlines()
        trained = [line for line in stats if "train_epoch" in line]
        assert len(trained) == 2 and {"top1_err" in line for line in trained} == {reported}
        assert "top1" in metrics(tmp_path / name)[-1]  # the validation's


def test_the_device_augments_as_the_host_does(configure, tmp_path):
    for mode in ("exact", "device", "fused"):
        run(configure(*FULL, "AUG.MODE", mode, out=mode))
    assert losses(tmp_path / "device") == losses(tmp_path / "exact") != losses(tmp_path / "fused")
    assert_equal(weights(tmp_path / "device"), weights(tmp_path / "exact"))


def test_a_finished_run_is_only_tested_again(configure, tmp_path, capsys):
    run(configure())
    before = weights(tmp_path / "out")
    capsys.readouterr()
    run(configure())
    assert "2 epochs are done" in capsys.readouterr().out
    assert_equal(before, weights(tmp_path / "out"))


def test_predictions_do_not_depend_on_the_number_of_threads(configure, tmp_path):
    run(configure(out="one"))
    before = (tmp_path / "one" / "predictions.csv").read_bytes()
    threads = torch.get_num_threads()
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        run(configure("TRAIN.ENABLE", "False", out="one"))
        assert torch.get_num_threads() == number
        assert (tmp_path / "one" / "predictions.csv").read_bytes() == before
    torch.set_num_threads(threads)


@pytest.mark.parametrize("processes", [2, 3])
def test_testing_gives_the_same_predictions_on_any_number_of_ranks(configure, tmp_path, processes):
    run(configure(out="one"))
    shutil.copytree(tmp_path / "one", tmp_path / "many")
    (tmp_path / "many" / "predictions.csv").unlink()
    config = configure("TRAIN.ENABLE", "False", "TEST.BATCH_SIZE", "12", out="many")
    launch(partial(run, config), num_gpus=0, processes=processes)
    files = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("one", "many")]
    assert files[0] == files[1]
    one, many = ({**metrics(tmp_path / name)[-1], "checkpoint": ""} for name in ("one", "many"))
    assert one == many


def test_two_processes_train_on_the_steps_of_one(configure, tmp_path):
    arguments = ["MODEL.SYNC_BN", "True", "MODEL.ARGS.drop_path", "0"]
    run(configure(*arguments, out="one"))
    launch(partial(run, configure(*arguments, out="two")), num_gpus=0, processes=2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
    assert metrics(tmp_path / "two")[0]["clips_per_sec"] > 0


def test_videos_that_cannot_be_read_are_replaced_in_training_and_wrong_in_testing(
    configure, tmp_path, corpus, capsys
):
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    test_lines = (data / "test.csv").read_text().splitlines()
    (data / test_lines[2].split()[0]).write_bytes(b"damaged")
    train_lines = (data / "train.csv").read_text().splitlines()
    (data / train_lines[5].split()[0]).unlink()
    allowed = ("TEST.MAX_FAILED_FRACTION", "0.5", "DATA.MAX_FAILED_FRACTION", "0.5")
    run(configure("SOLVER.MAX_EPOCH", "3", *allowed, data=data))
    printed = capsys.readouterr().out
    assert "warning: 1 of 11 videos looked for from the train list do not exist, such as" in printed
    assert "replaced a video that cannot be decoded" in printed and "failed videos 1" in printed
    assert "6/7 with a view, 6 views of 1 videos missing" in printed  # none of its views
    train_failed = (tmp_path / "out" / "failed_train_videos.txt").read_text()
    path, times, reason = train_failed.rstrip("\n").split("\t")
    assert path == f"{data}/{train_lines[5].split()[0]}" and reason.startswith("cannot be opened")
    assert times in ("1 times", "2 times", "3 times")
    failed = (tmp_path / "out" / "failed_videos.txt").read_text()
    assert failed.startswith(f"{data}/{test_lines[2].split()[0]}\t6 views missing\tcannot be opened")
    assert metrics(tmp_path / "out")[-1]["num_decoded"] == 6


def test_printing_the_config_runs_nothing(main, tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert main(["--print-config", "--cfg", str(tmp_path / "tiny.yaml"), "RNG_SEED", "3"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "again.yaml").write_text(printed)
    assert load_config(str(tmp_path / "again.yaml")).rng_seed == 3
    assert not (tmp_path / "output").exists()


def test_several_configs_run_one_after_the_other(main, tmp_path, corpus):
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(TINY)
    words = ["DATA.PATH_TO_DATA_DIR", str(corpus), "OUTPUT_DIR", str(tmp_path / "out"), "NUM_GPUS", "0"]
    files = [str(tmp_path / f"{name}.yaml") for name in ("a", "b")]
    assert main(["--cfg", *files, *words, "SOLVER.MAX_EPOCH", "1", "TEST.ENABLE", "False"]) == 0
    for name in ("a", "b"):
        assert (tmp_path / "out" / name / "checkpoints" / "checkpoint_epoch_00001.pyth").exists()


def test_resuming_with_other_settings_is_said(command):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")[0] == 0
    status, printed, _ = command("TEST.ENABLE", "False", "SOLVER.BASE_LR", "0.5", "MODEL.ARGS.drop_path", "0")
    assert status == 0
    assert (
        "resumed with other settings than before: SOLVER.BASE_LR 0.5 (was 0.001), SOLVER.MAX_EPOCH 2 "
        "(was 1): the learning rate leaves its curve at the next step"
    ) in printed


def test_what_another_batch_size_changes_is_said(command):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")[0] == 0
    status, printed, _ = command("TEST.ENABLE", "False", "TRAIN.BATCH_SIZE", "2", "SOLVER.MAX_EPOCH", "1")
    assert status == 0
    assert (
        "resumed with other settings than before: TRAIN.BATCH_SIZE 2 (was 4): the same order of videos in "
        "steps of another size; no learning rate is scaled"
    ) in printed


def test_another_optimiser_cannot_go_on(command):
    settings = ["TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1"]
    assert command(*settings, "SOLVER.OPTIMIZING_METHOD", "sgd")[0] == 0
    status, _, error = command(*settings)
    assert status == 1
    assert "was trained with SOLVER.OPTIMIZING_METHOD sgd, not adamw, which cannot change within a" in error
    assert "start from its weights with TRAIN.CHECKPOINT_FILE_PATH and another OUTPUT_DIR" in error


def test_several_configs_run_under_torchrun(tmp_path, corpus):
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(TINY)
    files = [str(tmp_path / f"{name}.yaml") for name in ("a", "b")]
    words = ["DATA.PATH_TO_DATA_DIR", str(corpus), "OUTPUT_DIR", str(tmp_path / "out"), "NUM_GPUS", "0"]
    words += ["SOLVER.MAX_EPOCH", "1", "TEST.ENABLE", "False"]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ended = subprocess.run(
        [*start, str(ROOT / "tools" / "run_net.py"), "--cfg", *files, *words], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "terminate called" not in ended.stderr
    for name in ("a", "b"):
        assert (tmp_path / "out" / name / "checkpoints" / "checkpoint_epoch_00001.pyth").exists()


def test_training_starts_from_other_weights(command, configure, tmp_path):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")[0] == 0
    start = tmp_path / "start.pyth"
    shutil.move(tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00001.pyth", start)
    arguments = [
        "TRAIN.CHECKPOINT_FILE_PATH",
        start,
        "TEST.ENABLE",
        "False",
        "SOLVER.MAX_EPOCH",
        "1",
        "SOLVER.BASE_LR",
        "0",
        "SOLVER.WARMUP_EPOCHS",
        "0",
        "SOLVER.COSINE_END_LR",
        "0",
    ]
    status, printed, _ = command(*arguments)
    assert status == 0 and f"started from {start}: 158 entries loaded" in printed
    before, after = torch.load(start, weights_only=True)["model_state"], weights(tmp_path / "out", 1)
    assert all(
        torch.equal(before[name], after[name]) for name in before if "norm" not in name or "blocks" in name
    )


def test_another_class_count_replaces_the_head_and_says_so(command, tmp_path):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")[0] == 0
    start = tmp_path / "start.pyth"
    shutil.move(tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00001.pyth", start)
    status, printed, _ = command(
        "TRAIN.CHECKPOINT_FILE_PATH",
        start,
        "TEST.ENABLE",
        "False",
        "SOLVER.MAX_EPOCH",
        "1",
        "MODEL.NUM_CLASSES",
        "9",
    )
    assert status == 0
    assert "was trained on 8 classes, not MODEL.NUM_CLASSES 9: its head is left out" in printed
    assert "2 missing (head.weight, head.bias)" in printed


def test_an_image_model_is_trained_and_inflated_for_video(command, tmp_path):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1", "DATA.NUM_FRAMES", "1")[0] == 0
    start = tmp_path / "image.pyth"
    shutil.move(tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00001.pyth", start)
    status, printed, _ = command(
        "TRAIN.CHECKPOINT_FILE_PATH", start, "TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1"
    )
    assert status == 0 and "holds an image model: inflated for video" in printed
    status, _, error = command("TEST.CHECKPOINT_FILE_PATH", start, "TRAIN.ENABLE", "False")
    assert status == 1 and "is a checkpoint of another model: it has DATA.NUM_FRAMES 1, not 4" in error


def test_two_processes_stop_together_when_too_many_videos_fail(configure, tmp_path, corpus):
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    paths = [data / line.split()[0] for line in (data / "train.csv").read_text().splitlines()]
    for path in paths[::2]:
        path.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"could not be decoded in epoch 1, which has 8:") as stop:
        launch(partial(run, configure(data=data)), num_gpus=0, processes=2)
    listed = (tmp_path / "out" / "failed_train_videos.txt").read_text().splitlines()
    times = [int(line.split("\t")[1].removesuffix(" times")) for line in listed]
    assert str(stop.value).startswith(f"{sum(times)} clips could not")


def test_a_quiet_command_leaves_the_terminal_to_warnings(main, tmp_path, corpus, capfd):
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = ["DATA.PATH_TO_DATA_DIR", str(corpus), "OUTPUT_DIR", str(tmp_path / "out"), "NUM_GPUS", "0"]
    flags = ["--quiet", "--cfg", str(tmp_path / "tiny.yaml")]
    assert main([*flags, *words, "SOLVER.MAX_EPOCH", "1", "TEST.ENABLE", "False"]) == 0
    shown = capfd.readouterr().out.splitlines()
    assert all(line.startswith("warning: ") for line in shown)
    assert "INFO train  epoch 1/1" in (tmp_path / "out" / "stdout.log").read_text()
