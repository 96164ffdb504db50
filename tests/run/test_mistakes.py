"""What a user gets wrong: each answered by a line that names what and where and the way out, and a status."""

import json
import shutil

import pytest
import torch

from tests.conftest import TINY


def lists(folder, **texts):
    folder.mkdir(exist_ok=True)
    for split in ("train", "val", "test"):
        (folder / f"{split}.csv").write_text(texts.get(split, texts.get("every", "")))
    return folder


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["DATA.PATH_TO_DATA_DIR", "/nowhere"], "DATA.PATH_TO_DATA_DIR '/nowhere' has no train.csv"),
        (["DATA.PATH_LABEL_SEPARATOR", ","], "Set DATA.PATH_LABEL_SEPARATOR to ' '"),
        (["DATA.PATH_PREFIX", "/nowhere"], "None of 11 videos looked for from the train list exists"),
        (["MODEL.NUM_CLASSES", "4"], "the label 4; MODEL.NUM_CLASSES 4 allows 0 to 3"),
        (["TRAIN.BATCHSIZE", "4"], "unknown key TRAIN.BATCHSIZE. Did you mean TRAIN.BATCH_SIZE?"),
        (["TRAIN.BATCH_SIZE", "12"], "TRAIN.BATCH_SIZE 12 is more than the 11 videos"),
        (["DATA.NUM_FRAMES", "2"], "DATA.NUM_FRAMES 2: use 1 for the image model"),
        (["DATA.TRAIN_CROP_SIZE", "36", "DATA.TEST_CROP_SIZE", "36"], "DATA.TRAIN_CROP_SIZE 36: the maps"),
        (["DATA.TEST_CROP_SIZE", "36"], "DATA.TEST_CROP_SIZE 36 differs from DATA.TRAIN_CROP_SIZE 32"),
        (["MULTIGRID.LONG_CYCLE", "True"], "MULTIGRID was removed: there is no multigrid"),
        (["TRAIN.SAMPLER", "fair"], "TRAIN.SAMPLER"),
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
        (["TRAIN.DATASET", "kinetic"], "no kinetic.py in slowfast_mlp.data.datasets; there is imagenet"),
        (["NUM_GPUS", "99"], "NUM_GPUS 99: this machine has"),
        (["TRAIN.PRECISION", "fp16"], "TRAIN.PRECISION fp16 is 200 times slower"),
        (["AUG.ENABLE", "True", "AUG.AA_TYPE", "rand-m7-x3"], "AUG.AA_TYPE 'rand-m7-x3': unknown part 'x3'"),
        (["AUG.MODE", "gpu"], "AUG.MODE 'gpu'"),
        (["MIXUP.ENABLE", "True", "TRAIN.BATCH_SIZE", "1"], "with one clip a process and step mixes it"),
        (["MIXUP.ENABLE", "True", "MIXUP.ALPHA", "0", "MIXUP.CUTMIX_ALPHA", "0"], "set one above 0"),
        (["TRAIN.ACCUMULATE_STEPS", "5"], "TRAIN.ACCUMULATE_STEPS 5 cuts a step's batch into parts, and"),
        (["SOLVER.BETAS", "[0.9]"], "SOLVER.BETAS [0.9]: give two numbers"),
        (["SOLVER.OPTIMIZING_METHOD", "sgd", "SOLVER.MOMENTUM", "0"], "Set SOLVER.NESTEROV False"),
        (["SOLVER.OPTIMIZING_METHOD", "lamb"], "SOLVER.OPTIMIZING_METHOD 'lamb'"),
        (["SOLVER.LAYER_DECAY", "0"], "SOLVER.LAYER_DECAY"),
        (["SOLVER.COOLDOWN_EPOCHS", "2"], "SOLVER.COOLDOWN_EPOCHS 2 are the last of the 2 epochs of"),
        (["MODEL.NAME", "vast", "MODEL.ARGS", "{dims: [8, 16, 32, 64]}", "BN.USE_PRECISE_STATS", "True"],
         "BN.USE_PRECISE_STATS True: vast has no batch norm"),
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


def test_the_reason_of_an_end_stands_in_the_log(command, tmp_path):
    assert command("TRAIN.ENABLE", "False")[0] == 1
    assert "error: There are no weights to test" in (tmp_path / "out" / "stdout.log").read_text()


def test_too_many_failed_videos_fail_the_test(command, tmp_path, corpus):
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    (data / (data / "test.csv").read_text().split()[0]).unlink()
    status, _, error = command("DATA.PATH_TO_DATA_DIR", data, "SOLVER.MAX_EPOCH", "1")
    assert status == 1 and "14.3 % of the test videos gave no view" in error and "failed_videos.txt" in error


def break_videos(corpus, folder, split, positions):
    """A copy of the corpus in which the videos at these positions of a list are no videos; returns them."""
    shutil.copytree(corpus, folder)
    lines = (folder / f"{split}.csv").read_text().splitlines()
    paths = [folder / lines[position].rsplit(" ", 1)[0] for position in positions]
    for path in paths:
        path.write_bytes(b"damaged")
    return paths


def test_too_many_failed_videos_stop_training_and_are_listed(command, tmp_path, corpus):
    broken = break_videos(corpus, tmp_path / "data", "train", range(0, 11, 3))
    status, _, error = command("DATA.PATH_TO_DATA_DIR", tmp_path / "data", "DATA.MAX_FAILED_FRACTION", "0.1")
    listed = tmp_path / "out" / "failed_train_videos.txt"
    assert status == 1 and error.count("\n") == 1
    assert "could not be decoded in epoch 1, which has 8: more than DATA.MAX_FAILED_FRACTION 0.1. " in error
    assert f"All are in {listed}: mend them, or leave them out with DATA.SKIP_LIST." in error
    paths = [line.split("\t")[0] for line in listed.read_text().splitlines()]
    assert paths and set(paths) <= set(map(str, broken))


def test_the_list_of_failed_videos_is_a_skip_list(command, tmp_path, corpus):
    data = tmp_path / "data"
    broken = break_videos(corpus, data, "train", [2, 4, 6])
    names = [path.relative_to(data) for path in broken]
    skip_list = tmp_path / "skip.txt"
    # Whole paths with remarks, as the program writes them, and paths as they stand in the lists.
    skip_list.write_text(f"{broken[0]}\t3 times\tcannot be opened\n{names[1]}\n\n{names[2]}\n")
    arguments = ("DATA.PATH_TO_DATA_DIR", data, "TEST.ENABLE", "False", "DATA.SKIP_LIST", skip_list)
    status, printed, _ = command(*arguments, "DATA.MAX_FAILED_FRACTION", "0")
    assert status == 0 and "DATA.SKIP_LIST leaves out 3 of 11 videos of the train list" in printed
    assert "8 train, 8 val videos" in printed


def test_evaluation_keeps_the_videos_of_a_skip_list_and_says_so(command, tmp_path, corpus):
    skip_list = tmp_path / "skip.txt"
    skip_list.write_text((corpus / "test.csv").read_text().split()[0] + "\n")
    status, printed, _ = command("DATA.SKIP_LIST", skip_list, "SOLVER.MAX_EPOCH", "1")
    assert status == 0 and "7/7 with a view" in printed
    assert "1 videos of DATA.SKIP_LIST are in the test list, and stay" in printed
    assert f"1 of the 1 paths of {skip_list} are not in the train list, such as " in printed


def test_a_skip_list_that_is_missing_or_leaves_nothing_is_a_line(command, tmp_path, corpus):
    status, _, error = command("DATA.SKIP_LIST", "/nowhere.txt")
    assert status == 1 and "DATA.SKIP_LIST '/nowhere.txt' cannot be read" in error
    skip_list = tmp_path / "skip.txt"
    lines = (corpus / "train.csv").read_text().splitlines()
    skip_list.write_text("\n".join(line.rsplit(" ", 1)[0] for line in lines))
    status, _, error = command("DATA.SKIP_LIST", skip_list)
    assert status == 1 and "leaves out all 11 videos of the train list; shorten it." in error


@pytest.mark.parametrize(
    ("overrides", "message", "name"),
    [
        (["SOLVER.MAX_NONFINITE_STEPS", "1"], "in 1 steps in a row, up to step 2 of epoch 1", "00001"),
        ([], "in 3 steps in a row, up to step 2 of epoch 2", "00002"),  # all of an epoch, though less than 10
    ],
)
def test_a_loss_that_is_not_a_number_ends_the_run_with_the_step_the_rate_and_the_videos(
    command, tmp_path, corpus, overrides, message, name
):
    overrides += ["SOLVER.WARMUP_EPOCHS", "0", "SOLVER.CLIP_GRAD_L2NORM", "None", "TEST.ENABLE", "False"]
    status, _, error = command("SOLVER.BASE_LR", "1e30", *overrides)
    out = tmp_path / "out"
    assert status == 1 and error.count("\n") == 1
    assert f"The loss or its gradient was not finite {message}, at a learning rate of " in error
    assert "Lower SOLVER.BASE_LR" in error
    file = f"{out}/checkpoints/checkpoint_epoch_{name}.pyth"
    assert f"The videos of these steps are in {out}/skipped_steps.jsonl. {file} holds the weights" in error
    line = json.loads((out / "skipped_steps.jsonl").read_text().splitlines()[0])
    records = (corpus / "train.csv").read_text().splitlines()
    assert line.pop("videos") == [f"{corpus}/{records[n].split()[0]}" for n in line.pop("records")]
    assert line == {"epoch": 1, "step": 2, "rank": 0, "rng_seed": 0}
    weights = torch.load(file, weights_only=True)["model_state"]
    assert all(value.isfinite().all() for value in weights.values())


def test_a_folder_that_cannot_be_written_is_a_line(command, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, error = command("OUTPUT_DIR", tmp_path / "file" / "out")
    assert status == 1 and "cannot be written to (Not a directory)" in error and error.count("\n") == 1


def test_a_test_alone_leaves_the_config_of_the_training(command, tmp_path):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")[0] == 0
    before = (tmp_path / "out" / "config.yaml").read_text()
    status, output, _ = command("TRAIN.ENABLE", "False", "TEST.NUM_ENSEMBLE_VIEWS", "1")
    assert status == 0 and str(tmp_path / "out" / "test_config.yaml") in output
    assert (tmp_path / "out" / "config.yaml").read_text() == before
    assert "NUM_ENSEMBLE_VIEWS: 1" in (tmp_path / "out" / "test_config.yaml").read_text()


def test_a_mistake_leaves_the_config_of_an_earlier_run(command, tmp_path):
    assert command("TEST.ENABLE", "False", "SOLVER.MAX_EPOCH", "1")[0] == 0
    before = (tmp_path / "out" / "config.yaml").read_text()
    assert command("MODEL.NUM_CLASSES", "3")[0] == 1
    assert (tmp_path / "out" / "config.yaml").read_text() == before
