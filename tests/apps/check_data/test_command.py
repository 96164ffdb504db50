"""What tools/check_data.py refuses: settings that a run would refuse too, and wrong commands."""

import pytest

from tests.conftest import main_of


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["MODEL.NAME", "morpmlp"], "Did you mean morphmlp?"),
        (["MODEL.ARGS.droppath", "0.1"], "MODEL.ARGS of morphmlp: no argument 'droppath'"),
        (["DATA.TEST_CROP_SIZE", "36"], "DATA.TEST_CROP_SIZE 36 differs from DATA.TRAIN_CROP_SIZE 32"),
        (["AUG.ENABLE", "True", "AUG.AA_TYPE", "rand-q9"], "AUG.AA_TYPE 'rand-q9'"),
        (["TRAIN.BATCH_SIZE", "4"], "TRAIN.BATCH_SIZE 4 is more than the 3 videos of the train list"),
        (["MIXUP.ENABLE", "True"], "MIXUP.ENABLE True with one clip a process"),
        (["SOLVER.BETAS", "[0.9]"], "SOLVER.BETAS [0.9]: give two numbers"),
        (["TRAIN.CHECKPOINT_FILE_PATH", "/nowhere.pyth"], "There is no checkpoint '/nowhere.pyth'"),
    ],
)
def test_settings_that_a_run_refuses_are_the_first_findings(check, videos, overrides, message):
    lists = dict.fromkeys(("train", "val", "test"), "".join(f"whole{n}.mp4 {n}\n" for n in range(3)))
    status, output, _ = check(lists, overrides=overrides)
    first = output.splitlines()[0]
    assert status == 1
    assert first.startswith("run_net.py refuses: ") and message in first
    assert output.splitlines()[1].startswith("train: 3 videos")


def test_flips_of_sides_without_names_are_found_before_a_run(check_frames):
    status, output, _ = check_frames("7 3 0\n", overrides=["DATA.RANDOM_FLIP", "True"])
    assert status == 1
    assert output.splitlines()[0] == (
        "run_net.py refuses: DATA.RANDOM_FLIP True: ssv1 has classes that tell left from right, and their "
        "names, which say which labels to swap, are unknown. Set DATA.RANDOM_FLIP False, or DATA.ARGS "
        "label_names."
    )


@pytest.mark.parametrize(
    ("flags", "overrides", "message"),
    [
        (["--split", "val"], ["TRAIN.EVAL_PERIOD", "0"], "--split val: the config reads train, test only."),
        ([], ["DATA.PATH_TO_DATA_DIR", "/nowhere"], "DATA.PATH_TO_DATA_DIR '/nowhere' has no train.csv"),
        ([], ["DATA.PATHPREFIX", "/nowhere"], "Did you mean DATA.PATH_PREFIX?"),
        (
            ["--report", "/nowhere/x.csv"],
            [],
            "--report /nowhere/x.csv cannot be written: there is no folder /nowhere.",
        ),
        (["--report", "/tmp"], [], "--report /tmp cannot be written: it is a folder. Name a file."),
        (["--report", "/dev/full"], [], "--report /dev/full cannot be written to (/dev/full: No space left"),
        (["--cache", "/dev/null/x"], [], "The cache /dev/null/x cannot be used (File exists); give"),
    ],
)
def test_a_wrong_command_is_a_line_and_status_2(check, videos, flags, overrides, message):
    lists = dict.fromkeys(("train", "val", "test"), "whole0.mp4 0\n")
    status, _, error = check(lists, *flags, overrides=overrides)
    assert status == 2
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_a_label_beyond_all_numbers_is_a_wrong_command_and_no_traceback(check, videos):
    status, _, error = check({"train": "whole0.mp4 99999999999999999999\n"}, "--split", "train")
    assert status == 2
    assert error == (
        f"error: The list gives '{videos}/whole0.mp4' the label 99999999999999999999, which is too large to "
        "be one; mend the list.\n"
    )


@pytest.mark.parametrize("flags", [["--jobs", "0"], ["--timeout", "0"], ["--decod", "all"]])
def test_a_wrong_flag_is_status_2(check, videos, flags):
    with pytest.raises(SystemExit, match="2"):
        check({"train": "whole0.mp4 0\n"}, *flags)


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        main_of("check_data")(["--help"])
    assert "python tools/check_data.py --cfg configs/Kinetics" in capsys.readouterr().out
