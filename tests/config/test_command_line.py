"""The command line: both forms of overrides, several files, and flags that are not swallowed."""

import pytest

from slowfast_mlp.config.command_line import parse_arguments
from slowfast_mlp.errors import UserError


def test_bare_overrides_follow_the_file():
    arguments = parse_arguments(["--cfg", "a.yaml", "NUM_GPUS", "1", "SOLVER.BASE_LR", "-1"])
    assert arguments.configs == ("a.yaml",)
    assert arguments.overrides == (("NUM_GPUS", "1", "SOLVER.BASE_LR", "-1"),)


def test_overrides_behind_opts_are_the_same():
    bare = parse_arguments(["--cfg", "a.yaml", "NUM_GPUS", "1"])
    assert parse_arguments(["--cfg", "a.yaml", "--opts", "NUM_GPUS", "1"]) == bare
    assert parse_arguments(["--cfg", "a.yaml", "NUM_GPUS", "1", "--opts"]) == bare


def test_several_files_each_get_the_overrides_and_a_folder_of_their_own():
    arguments = parse_arguments(["--cfg", "x/a.yaml", "b.yml", "OUTPUT_DIR", "out", "RNG_SEED", "3"])
    assert arguments.configs == ("x/a.yaml", "b.yml")
    assert arguments.overrides == (
        ("OUTPUT_DIR", "out/a", "RNG_SEED", "3"),
        ("OUTPUT_DIR", "out/b", "RNG_SEED", "3"),
    )


def test_one_file_keeps_the_folder_it_was_given():
    assert parse_arguments(["--cfg", "a.yaml", "OUTPUT_DIR", "out"]).overrides == (("OUTPUT_DIR", "out"),)


@pytest.mark.parametrize("flag", ["--print-config", "--num_shards", "--cfg", "--nonsense"])
def test_a_flag_behind_an_override_is_refused(flag):
    with pytest.raises(UserError, match=f"{flag} stands behind the overrides"):
        parse_arguments(["--cfg", "a.yaml", "NUM_GPUS", "1", flag])


def test_shards_override_the_file_only_when_given():
    assert parse_arguments(["--cfg", "a.yaml"]).overrides == ((),)
    arguments = parse_arguments(["--num_shards", "4", "--shard_id", "2", "--cfg", "a.yaml", "RNG_SEED", "1"])
    assert arguments.overrides == (("RNG_SEED", "1", "NUM_SHARDS", "4", "SHARD_ID", "2"),)


@pytest.mark.parametrize("argv", [["-h"], ["--help"], ["--cfg", "a.yaml", "--help"]])
def test_help_is_shown(argv, capsys):
    with pytest.raises(SystemExit) as left:
        parse_arguments(argv)
    assert left.value.code == 0
    assert "python tools/run_net.py --cfg configs/Kinetics" in capsys.readouterr().out


def test_an_unknown_flag_and_a_missing_file_leave_with_status_2():
    for argv in (["--cfgs", "a.yaml"], ["NUM_GPUS", "1"], []):
        with pytest.raises(SystemExit) as left:
            parse_arguments(argv)
        assert left.value.code == 2
