"""tools/doctor.py: what it says of a machine that works, and of each thing that may be wrong."""

import json
import subprocess
import sys

import pytest
import torch

from slowfast_mlp.apps import doctor
from slowfast_mlp.apps.doctor import (
    Finding,
    in_words,
    is_usable,
    missing_gpu,
    numbers,
    open_files,
    package,
    space,
)
from tests.conftest import ROOT, main_of, numbered_frames


def test_a_machine_that_runs_the_tests_is_usable(capsys, tmp_path):
    status = main_of("doctor")(["--json", "--output-dir", str(tmp_path / "not" / "yet")])
    findings = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    states = {finding["what"]: finding["state"] for finding in findings}
    assert (status, "wrong" in states.values()) == (0, False)
    for what in (
        "python",
        "torch",
        "torchvision",
        "av",
        "cpu",
        "decoder pyav",
        "train step, cpu",
        "output folder",
    ):
        assert states[what] in ("ok", "warning"), what
    assert all(finding["mend"] for finding in findings if finding["state"] != "ok")


def test_what_is_wrong_is_the_exit_status(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main_of("doctor")(["--output-dir", str(tmp_path / "file" / "runs")]) == 1
    lines = capsys.readouterr().out.splitlines()
    place = lines.index(f"wrong    output folder: {tmp_path}/file/runs: {tmp_path}/file is no folder")
    assert lines[place + 1] == "         Choose another: OUTPUT_DIR, and XDG_CACHE_HOME for the cache."


def test_warnings_leave_a_machine_usable_and_colours_are_asked_for():
    warning = Finding("disk", "warning", "little", "Make room.")
    assert in_words(warning, colours=False) == "warning  disk: little\n         Make room."
    assert in_words(warning, colours=True).startswith("\x1b[33mwarning\x1b[0m  disk")
    assert is_usable([warning])
    assert not is_usable([warning, Finding("gpu", "wrong", "gone", "Find it.")])


def test_a_package_that_is_missing_or_old_is_wrong_if_it_is_needed():
    missing = package("no-such-package", (1,), is_needed=True)
    assert (missing.state, missing.text) == ("wrong", "is not installed")
    assert missing.mend == "pip install 'no-such-package>=1'."
    assert package("no-such-package", (1,), is_needed=False).state == "warning"
    old = package("torch", (99, 1), is_needed=True)
    assert (old.state, old.mend) == ("wrong", "pip install 'torch>=99.1'.")
    assert old.text.endswith(" is too old")


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.15.0+cu132", (2, 15, 0)), ("0.1.5.post20221221", (0, 1, 5)), ("3.0rc1", (3,)), ("10.1", (10, 1))],
)
def test_versions_are_compared_as_numbers(version, expected):
    assert numbers(version) == expected


def test_a_package_that_cannot_be_imported_is_wrong(tmp_path):
    """torchvision of another torch raises a RuntimeError at its import."""
    broken = tmp_path / "torchvision"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
    code += (
        "from slowfast_mlp.apps.doctor import package; print(package('torchvision', (0,), is_needed=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "state='wrong'" in done.stdout
    assert "cannot be imported (operator torchvision::nms does not exist)" in done.stdout


def test_an_nvidia_driver_without_a_gpu_is_wrong():
    (finding,) = missing_gpu(has_driver=True, sees_gpu=False, cuda="13.2")
    assert finding.state == "wrong" and "driver too old for CUDA 13.2" in finding.mend
    (finding,) = missing_gpu(has_driver=True, sees_gpu=False, cuda=None)
    assert finding.mend.startswith("This torch has no CUDA")
    assert list(missing_gpu(has_driver=True, sees_gpu=True, cuda="13.2")) == []
    assert list(missing_gpu(has_driver=False, sees_gpu=False, cuda="13.2")) == []


@pytest.mark.parametrize(("free", "state"), [(0.05, "wrong"), (0.5, "warning"), (2, "ok")])
def test_little_room_is_a_warning_and_none_is_wrong(free, state):
    finding = space("shared memory", "/dev/shm", free * 2**30, 0.1 * 2**30, 2**30, "Make room.")
    assert finding.state == state
    assert bool(finding.mend) == (state != "ok")


@pytest.mark.parametrize(
    ("limit", "most", "state", "words"),
    [
        (1024, 4096, "ok", ""),
        (-1, None, "ok", ""),
        (256, None, "warning", "Run ulimit -n 4096."),
        (256, 512, "warning", "Run ulimit -n 4096 (more than 512 needs root)."),
    ],
)
def test_few_open_files_are_a_warning(limit, most, state, words):
    finding = open_files(limit, most)
    assert (finding.state, finding.mend) == (state, words)


def test_a_decoder_that_gives_other_frames_is_found_out(write_numbered):
    path = write_numbered("a.mp4", 12)
    frames = numbered_frames(12)
    assert doctor.decoder("pyav", path, frames, is_needed=True).state == "ok"
    wrong = doctor.decoder("pyav", path, frames.roll(1, dims=0), is_needed=True)
    assert wrong.state == "wrong" and wrong.text.startswith("gives wrong frames (by 2")
    unread = doctor.decoder("decord", f"{path}.gone", frames, is_needed=False)
    assert (unread.state, unread.mend) == ("warning", "Use DATA.DECODER pyav.")


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        main_of("doctor")(["--help"])
    assert "python tools/doctor.py --output-dir /scratch/runs --json" in capsys.readouterr().out


@pytest.mark.gpu
def test_every_gpu_takes_a_step():
    steps = [found for found in doctor.examine("output") if found.what.startswith("train step, cuda")]
    assert [step.state for step in steps] == ["ok"] * torch.cuda.device_count()
