"""The whole path, from the command line to the files: on small rendered videos, in one process and in two."""

import importlib.util
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import simplejson
import torch

from slowfast_mlp.config.load import dump_config, load_config
from slowfast_mlp.engine.distributed import launch
from slowfast_mlp.run import run

ROOT = Path(__file__).parents[1]
TINY = """
TRAIN: {DATASET: kinetics, BATCH_SIZE: 4, PRECISION: fp32, EVAL_PERIOD: 1}
TEST: {NUM_ENSEMBLE_VIEWS: 2, NUM_SPATIAL_CROPS: 3, BATCH_SIZE: 12}
DATA: {NUM_FRAMES: 4, TRAIN_CROP_SIZE: 32, TEST_CROP_SIZE: 32, TEST_SHORT_SIZE: 36, RANDOM_FLIP: False}
DATA_LOADER: {NUM_WORKERS: 1}
MODEL: {NAME: morphmlp, VARIANT: Nano, NUM_CLASSES: 8, ARGS: {dims: [8, 16, 32, 64], drop_path: 0.2}}
SOLVER: {BASE_LR: 1e-3, MAX_EPOCH: 2, WARMUP_EPOCHS: 1, CLIP_GRAD_L2NORM: 1, LABEL_SMOOTHING: 0.1}
TENSORBOARD: {ENABLE: False}
LOG_PERIOD: 2
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder of Kinetics lists over 11 training and 7 test videos; 7 divides by nothing."""
    from slowfast_mlp.data.datasets.synthetic import render_corpus

    folder = tmp_path_factory.mktemp("corpus")
    render_corpus(folder, {"train": 11, "val": 8, "test": 7})
    return folder


@pytest.fixture
def configure(tmp_path, corpus):
    """A tiny config with overrides, writing into tmp_path / out."""

    def configure(*overrides, out="out", data=corpus):
        path = tmp_path / "tiny.yaml"
        path.write_text(TINY)
        words = [
            "DATA.PATH_TO_DATA_DIR",
            str(data),
            "OUTPUT_DIR",
            str(tmp_path / out),
            "NUM_GPUS",
            "0",
            *overrides,
        ]
        return load_config(str(path), words)

    return configure


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
    assert names == {"checkpoints", "tensorboard", *files}
    assert (out / "config.yaml").read_text() == dump_config(config)
    checkpoint = torch.load(out / "checkpoints" / "checkpoint_epoch_00002.pyth", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["cfg"]) == (1, dump_config(config))
    printed = capsys.readouterr().out
    for part in (
        "11 train, 8 val, 7 test videos",
        "GFLOPs a view",
        "4 videos over all",
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
    config = configure("SOLVER.MAX_EPOCH", "3", "TEST.MAX_FAILED_FRACTION", "0.5", data=data)
    run(config)
    printed = capsys.readouterr().out
    assert "warning: 1 of 11 videos looked for from the train list do not exist, such as" in printed
    assert "replaced a video that cannot be decoded" in printed and "failed videos 1" in printed
    assert "6/7 with a view, 6 views of 1 videos missing" in printed
    failed = (tmp_path / "out" / "failed_videos.txt").read_text()
    assert failed.startswith(f"{data}/{test_lines[2].split()[0]}\t6 views missing\tcannot be opened")
    assert metrics(tmp_path / "out")[-1]["num_decoded"] == 6


@pytest.fixture(scope="module")
def main():
    """The main function of tools/run_net.py."""
    spec = importlib.util.spec_from_file_location("run_net", ROOT / "tools" / "run_net.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def command(main, tmp_path, corpus, capsys):
    """Runs the command line on the tiny config; returns status, output and error."""

    def command(*overrides):
        (tmp_path / "tiny.yaml").write_text(TINY)
        words = ["DATA.PATH_TO_DATA_DIR", str(corpus), "OUTPUT_DIR", str(tmp_path / "out"), "NUM_GPUS", "0"]
        status = main(["--cfg", str(tmp_path / "tiny.yaml"), *words, *map(str, overrides)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


def lists(folder, **texts):
    folder.mkdir(exist_ok=True)
    for split in ("train", "val", "test"):
        (folder / f"{split}.csv").write_text(texts.get(split, texts.get("every", "")))
    return folder


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


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["DATA.PATH_TO_DATA_DIR", "/nowhere"], "DATA.PATH_TO_DATA_DIR '/nowhere' has no train.csv"),
        (["DATA.PATH_LABEL_SEPARATOR", ","], "Set DATA.PATH_LABEL_SEPARATOR to ' '"),
        (["DATA.PATH_PREFIX", "/nowhere"], "None of 11 videos looked for from the train list exists"),
        (["MODEL.NUM_CLASSES", "4"], "the label 4; MODEL.NUM_CLASSES 4 allows 0 to 3"),
        (["TRAIN.BATCHSIZE", "4"], "unknown key TRAIN.BATCHSIZE. Did you mean TRAIN.BATCH_SIZE?"),
        (["TRAIN.BATCH_SIZE", "12"], "TRAIN.BATCH_SIZE 12 is more than the 11 videos"),
        (["DATA.NUM_FRAMES", "10"], "DATA.NUM_FRAMES 10 gives 5 time positions"),
        (["DATA.TRAIN_CROP_SIZE", "36", "DATA.TEST_CROP_SIZE", "36"], "DATA.TRAIN_CROP_SIZE 36: the maps"),
        (["DATA.TEST_CROP_SIZE", "36"], "DATA.TEST_CROP_SIZE 36 differs from DATA.TRAIN_CROP_SIZE 32"),
        (["MODEL.NAME", "morpmlp"], "no morpmlp.py in slowfast_mlp.models; there is mobile_former, morphmlp"),
        (["MODEL.VARIANT", "XL"], "MODEL.VARIANT 'XL': morphmlp has Nano, T, S, B, L."),
        (["MODEL.ARGS.droppath", "0.1"], "MODEL.ARGS of morphmlp: no argument 'droppath'; there is depths"),
        (["MODEL.ARGS.num_classes", "3"], "MODEL.ARGS of morphmlp: no argument 'num_classes'"),
        (["DATA.ARGS.x", "3"], "DATA.ARGS of kinetics: no argument 'x'"),
        (["MODEL.ARGS.drop_path", "abc"], "MODEL.ARGS of morphmlp: drop_path 'abc' is no float"),
        (["MODEL.ARGS.depths", "3"], "MODEL.ARGS of morphmlp: depths 3 is no tuple"),
        (["MODEL.ARGS.mlp_ratio", "2.5"], "MODEL.ARGS of morphmlp: mlp_ratio 2.5 is no int"),
        (["MODEL.ARGS.mlp_ratio", "-1"], "MODEL.ARGS.mlp_ratio -1: give 1 or more"),
        (["TRAIN.DATASET", "synthetic", "DATA.ARGS.num_train", "abc"], "num_train 'abc' is no int"),
        (["TRAIN.DATASET", "kinetic"], "no kinetic.py in slowfast_mlp.data.datasets; there is kinetics"),
        (["NUM_GPUS", "99"], "NUM_GPUS 99: this machine has"),
        (["TRAIN.PRECISION", "fp16"], "TRAIN.PRECISION fp16 is 200 times slower"),
        (["TRAIN.ENABLE", "False"], "There are no weights to test"),
        (["TRAIN.ENABLE", "False", "TEST.ENABLE", "False"], "there is nothing to do"),
        (["TEST.CHECKPOINT_FILE_PATH", "/x", "TRAIN.ENABLE", "False"], "There is no checkpoint '/x'"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_a_line_and_a_status(command, overrides, message):
    status, _, error = command(*overrides)
    assert status == 1
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_an_empty_list_is_a_line(command, tmp_path):
    status, _, error = command("DATA.PATH_TO_DATA_DIR", lists(tmp_path / "lists"))
    assert (status, error) == (
        1,
        f"error: {tmp_path}/lists/train.csv is empty: it needs a line `path label` for every video.\n",
    )


def test_a_wrong_test_list_shows_before_training(command, tmp_path, corpus):
    train = "".join(f"{corpus}/{line}\n" for line in (corpus / "train.csv").read_text().splitlines())
    folder = lists(tmp_path / "lists", train=train, val=train, test="/nowhere.mp4 0\n")
    status, printed, error = command("DATA.PATH_TO_DATA_DIR", folder)
    assert status == 1 and "None of 1 videos looked for from the test list exists" in error
    assert "train " not in printed


def test_checkpoints_that_do_not_fit_are_a_line(command, tmp_path):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")[0] == 0
    path = tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00001.pyth"
    status, _, error = command("MODEL.NUM_CLASSES", "9")
    assert status == 1 and f"{path} does not fit this model" in error and "misshapen" in error
    status, _, error = command("TRAIN.AUTO_RESUME", "False")
    assert status == 1 and "holds checkpoints of an earlier run" in error
    path.write_bytes(path.read_bytes()[:-100])
    status, _, error = command()
    assert (
        status == 1 and f"{path} is damaged or cut off, or no checkpoint" in error and error.count("\n") == 1
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["DATA.NUM_FRAMES", "8"], "DATA.NUM_FRAMES 4, not 8"),
        (["MODEL.ARGS.chunk_lens", "[1,1,1,1]"], "MODEL.ARGS"),
        (
            ["DATA.TRAIN_CROP_SIZE", "64", "DATA.TEST_CROP_SIZE", "64", "DATA.TEST_SHORT_SIZE", "64"],
            "32, not 64",
        ),
    ],
)
def test_weights_that_fit_but_mean_something_else_are_refused(command, change, words):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")[0] == 0
    status, _, error = command("TRAIN.ENABLE", "False", *change)
    assert status == 1
    assert "is a checkpoint of another model: it has" in error
    assert words in error
    assert command(*change)[0] == 1


def test_resuming_with_other_settings_is_said(command):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")[0] == 0
    status, printed, _ = command("TEST.ENABLE", "False", "SOLVER.BASE_LR", "0.5", "MODEL.ARGS.drop_path", "0")
    assert status == 0
    assert (
        "resumed with other settings than before: SOLVER.BASE_LR 0.5 (was 0.001), SOLVER.MAX_EPOCH" in printed
    )


def test_the_control_does_not_resume_the_run_that_it_controls(command, tmp_path):
    assert command("SOLVER.MAX_EPOCH", "1")[0] == 0
    before = (tmp_path / "out" / "config.yaml").read_text()
    status, _, error = command("DATA.SHUFFLE_FRAMES", "True")
    assert status == 1 and "was trained with DATA.SHUFFLE_FRAMES False" in error
    assert (tmp_path / "out" / "config.yaml").read_text() == before


def test_a_missing_checkpoint_to_test_shows_before_training(command):
    status, printed, error = command("TEST.CHECKPOINT_FILE_PATH", "/x")
    assert status == 1 and "There is no checkpoint '/x'" in error
    assert "train " not in printed


def test_two_configs_that_would_share_a_folder_are_refused(main, tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tiny.yaml").write_text(TINY)
    files = [str(tmp_path / folder / "tiny.yaml") for folder in ("a", "b")]
    assert main(["--cfg", *files, "OUTPUT_DIR", str(tmp_path / "out")]) == 1
    assert "Several configs would write to one OUTPUT_DIR" in capsys.readouterr().err


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


def test_the_reason_of_an_end_stands_in_the_log(command, tmp_path):
    assert command("TRAIN.ENABLE", "False")[0] == 1
    assert "error: There are no weights to test" in (tmp_path / "out" / "stdout.log").read_text()


def test_too_many_failed_videos_fail_the_test(command, tmp_path, corpus):
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    (data / (data / "test.csv").read_text().split()[0]).unlink()
    status, _, error = command("DATA.PATH_TO_DATA_DIR", data, "SOLVER.MAX_EPOCH", "1")
    assert status == 1 and "14.3 % of the test videos gave no view" in error and "failed_videos.txt" in error


def test_a_loss_that_is_not_a_number_ends_the_run_with_the_step_and_the_rate(command):
    status, _, error = command(
        "SOLVER.BASE_LR", "1e30", "SOLVER.WARMUP_EPOCHS", "0", "SOLVER.CLIP_GRAD_L2NORM", "None"
    )
    assert status == 1
    assert (
        "The loss or its gradient became nan between steps 1 and 2 of epoch" in error
        and "Lower SOLVER.BASE_LR" in error
    )


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


def test_a_folder_that_cannot_be_written_is_a_line(command, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, error = command("OUTPUT_DIR", tmp_path / "file" / "out")
    assert status == 1 and "cannot be written to (Not a directory)" in error and error.count("\n") == 1


def test_a_mistake_leaves_the_config_of_an_earlier_run(command, tmp_path):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")[0] == 0
    before = (tmp_path / "out" / "config.yaml").read_text()
    assert command("MODEL.NUM_CLASSES", "3")[0] == 1
    assert (tmp_path / "out" / "config.yaml").read_text() == before
