"""What the tools have in common: how they end, and what their help shows."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slowfast_mlp.apps.cli import demand_place, run_tool, say, written_to
from slowfast_mlp.errors import Stopped, UserError
from tests.conftest import ROOT, main_of

TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("*.py"))


@pytest.mark.parametrize("tool", TOOLS)
def test_every_help_shows_a_command_that_can_be_copied(tool, capsys):
    with pytest.raises(SystemExit, match="0"):
        main_of(tool)(["--help"])
    assert f"  python tools/{tool}.py" in capsys.readouterr().out


def test_without_submitit_the_help_is_there_and_a_submission_says_what_is_missing():
    script = "import runpy, sys; sys.modules['submitit'] = None; sys.argv = sys.argv[1:]; "
    script += "runpy.run_path(sys.argv[0], run_name='__main__')"
    words = [sys.executable, "-c", script, str(ROOT / "tools" / "submit.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = [
        subprocess.run([*words, *rest], capture_output=True, text=True, env=environment)
        for rest in (["--help"], ["--", "--cfg", "x.yaml"])
    ]
    assert [one.returncode for one in done] == [0, 1]
    assert done[1].stderr == "error: This needs submitit: pip install submitit.\n"


def ends_with(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UserError("DATA.X 1: use 2."), 2, "error: DATA.X 1: use 2.\n"),
        (OSError(errno.ENOSPC, "No space left", "/x"), 2, "error: /x cannot be used (No space left).\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted\n"),
        (Stopped("stopped by SIGTERM"), 75, "stopped by SIGTERM. The same command goes on.\n"),
    ],
)
def test_what_is_no_bug_ends_a_tool_with_a_line(error, status, text, capsys):
    assert run_tool(ends_with(error)) == status
    assert capsys.readouterr() == ("", text)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(KeyError):
        run_tool(ends_with(KeyError("a bug")))


def test_what_cannot_be_written_names_the_flag(tmp_path):
    (tmp_path / "a").mkdir()
    refusal = f"--out {tmp_path} cannot be written to .{tmp_path}/a: Is a directory.. Mend that, or choose"
    with pytest.raises(UserError, match=refusal), written_to(tmp_path, "--out"):
        (tmp_path / "a").write_text("")
    refusal = "--out /x cannot be written to ./x: No space left on device.. Mend"
    with (
        pytest.raises(UserError, match=refusal),
        written_to(Path("/x"), "--out"),
        open("/dev/full", "w") as full,
    ):
        full.write("text")


def test_no_room_for_the_output_is_a_line(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status = run_tool(lambda: say("text"))
        monkeypatch.undo()
    assert status == 2
    assert "error: Standard output cannot be written to (No space left on device)" in capsys.readouterr().err


def test_what_keeps_another_file_from_being_read_is_not_put_down_to_the_flag(tmp_path):
    with pytest.raises(FileNotFoundError), written_to(tmp_path / "out", "--out"):
        (tmp_path / "annotations.csv").read_text()


def test_a_place_for_a_file_is_known_before_the_work(tmp_path):
    demand_place(tmp_path / "new.csv", "--report")
    with pytest.raises(UserError, match=f"{tmp_path}/no/x.csv cannot be written: there is no folder"):
        demand_place(tmp_path / "no" / "x.csv", "--report")
    with pytest.raises(UserError, match=f"^--report {tmp_path} cannot be written: it is a folder. Name a"):
        demand_place(tmp_path, "--report")


@pytest.mark.parametrize(
    ("tool", "words", "flag"),
    [
        ("export", ["a.pyth", "a.onnx", "--batch", "0"], "--batch: '0' is no whole number of 1 or more"),
        ("export", ["a.pyth", "a.onnx", "--rounds", "-1"], "--rounds: '-1' is no whole number of 0 or more"),
        ("prepare_data", ["kinetics", "--jobs", "x"], "--jobs: 'x' is no whole number of 1 or more"),
        ("benchmark", ["floor", "--rounds", "1.5"], "--rounds: '1.5' is no whole number of 1 or more"),
        ("predict", ["a.mp4", "--checkpoint", "a", "--window-sec", "nan"], "--window-sec takes more than 0"),
        ("predict", ["a.mp4", "--checkpoint", "a", "--stride-sec", "inf"], "--stride-sec takes more than 0"),
    ],
)
def test_a_number_that_makes_no_sense_is_a_wrong_command(tool, words, flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        main_of(tool)(words)
    assert flag in capsys.readouterr().err
