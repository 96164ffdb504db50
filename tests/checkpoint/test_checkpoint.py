"""Checkpoints: whole or not there, loaded with a report, never a door for code."""

import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast_mlp.atomic_file import write_file
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.weights import weights_of
from slowfast_mlp.engine.optimizer import parameter_groups
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.errors import UserError
from tests.checkpoint.models import small_model


def trained(width=3):
    model = small_model(width)
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return dict(model=model, optimizer=optimizer, precision=Precision("fp32", torch.device("cpu")))


def save(folder, state, *, epoch, step=0, config_text=""):
    contents = checkpoint.snapshot(state, epoch=epoch, step=step, config_text=config_text)
    return checkpoint.save(str(folder), contents)


def test_a_file_has_pyslowfasts_name_and_keys(tmp_path):
    path = save(tmp_path, trained(), epoch=4, config_text="A: 1")
    assert path == f"{tmp_path}/checkpoints/checkpoint_epoch_00005.pyth"
    contents = torch.load(path, weights_only=True)
    states = {"model_state", "optimizer_state", "scaler_state"}
    assert set(contents) == {"epoch", "step", "cfg", "label_names", *states}
    assert (contents["epoch"], contents["step"], contents["cfg"]) == (4, 0, "A: 1")


def test_the_newest_is_that_of_the_latest_position(tmp_path):
    assert checkpoint.newest(str(tmp_path)) is None
    state = trained()
    for epoch, step in ((8, 0), (9, 0), (9, 3), (9, 20), (8, 100), (10, 0)):
        save(tmp_path, state, epoch=epoch, step=step)
    (tmp_path / "checkpoints" / "ssl_checkpoint_epoch_00099.pyth").touch()
    (tmp_path / "checkpoints" / "checkpoint_epoch_00099.pyth.part").touch()
    (tmp_path / "checkpoints" / "checkpoint_epoch_00099.pyth.damaged").touch()
    names = [Path(path).name for path in checkpoint.newest_first(str(tmp_path))]
    assert names == [
        "checkpoint_epoch_00011.pyth",
        "checkpoint_epoch_00011_step_00020.pyth",
        "checkpoint_epoch_00011_step_00003.pyth",
        "checkpoint_epoch_00010.pyth",
        "checkpoint_epoch_00010_step_00100.pyth",
        "checkpoint_epoch_00009.pyth",
    ]


def test_only_the_newest_and_the_best_are_kept(tmp_path):
    state = trained()
    for epoch in range(4):
        path = save(tmp_path, state, epoch=epoch)
        if epoch == 1:
            checkpoint.keep_as_best(path)
        checkpoint.prune(str(tmp_path), 2)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"best.pyth", "checkpoint_epoch_00003.pyth", "checkpoint_epoch_00004.pyth"}
    assert checkpoint.read(str(tmp_path / "checkpoints" / "best.pyth"))["epoch"] == 1


def test_a_snapshot_does_not_change_with_the_training(tmp_path):
    state = trained()
    before = state["model"].head.bias.detach().clone()
    contents = checkpoint.snapshot(state, epoch=0, config_text="")
    with torch.no_grad():
        state["model"].head.bias += 1
    assert torch.equal(contents["model_state"]["head.bias"], before)


def test_one_flipped_bit_of_a_weight_is_found(tmp_path):
    model = nn.Linear(100, 100)
    torch.save({"model_state": model.state_dict()}, tmp_path / "w.pyth")
    data = bytearray((tmp_path / "w.pyth").read_bytes())
    place = data.index(model.weight.detach().numpy().tobytes()) + 2_000
    data[place] ^= 1
    (tmp_path / "w.pyth").write_bytes(data)
    torch.load(tmp_path / "w.pyth", weights_only=True)  # which sees nothing
    with pytest.raises(checkpoint.DamagedFile, match=r"w.pyth is damaged: w/data/\d does not match"):
        checkpoint.read(str(tmp_path / "w.pyth"))


def test_resuming_keeps_the_weight_decay_of_the_setting(tmp_path):
    path = save(tmp_path, trained(), epoch=4)
    after = trained()
    after["optimizer"].param_groups[0]["weight_decay"] = 0.7
    checkpoint.resume(checkpoint.read(path), path, after)
    assert [group["weight_decay"] for group in after["optimizer"].param_groups] == [0.7, 0.0]


class Counter:
    """A part of training that a later version may bring."""

    def __init__(self, number):
        self.number = number

    def state_dict(self):
        return {"number": self.number}

    def load_state_dict(self, state):
        self.number = state["number"]


def test_every_part_is_saved_and_a_part_that_the_file_lacks_starts_anew(tmp_path, caplog):
    path = save(tmp_path, {**trained(), "counter": Counter(7)}, epoch=4)
    after, new = Counter(0), Counter(1)
    checkpoint.resume(checkpoint.read(path), path, {**trained(), "counter": after, "other": new})
    assert (after.number, new.number) == (7, 1)
    assert "00005.pyth holds no other_state, which is re-initialized" in caplog.text


def test_resuming_takes_up_model_and_optimiser(tmp_path):
    before, after = trained(), trained()
    path = save(tmp_path, before, epoch=4)
    checkpoint.resume(checkpoint.read(path), path, after)
    for one, other in zip(before["model"].parameters(), after["model"].parameters()):
        assert torch.equal(one, other)
    one, other = (state["optimizer"].state_dict()["state"] for state in (before, after))
    assert torch.equal(one[0]["exp_avg"], other[0]["exp_avg"])


KILLED = """
import sys, torch
from slowfast_mlp.atomic_file import atomic_write
with atomic_write(sys.argv[1]) as temporary:
    torch.save({"x": torch.zeros(1000)}, temporary)
    sys.stdout.write("half\\n"); sys.stdout.flush()
    sys.stdin.readline()
"""


def test_a_kill_while_saving_leaves_the_file_before_whole(tmp_path):
    path = tmp_path / "file.pyth"
    torch.save({"x": torch.ones(3)}, path)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert torch.equal(checkpoint.read(str(path))["x"], torch.ones(3))


FULL_DISK = """
import resource, signal, sys, torch
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoint.save(sys.argv[1], {"x": torch.zeros(1_000_000)}, "file.pyth")
except UserError as error:
    sys.stdout.write(str(error))
"""


def test_a_full_disk_is_named_and_leaves_the_file_before(tmp_path):
    path = tmp_path / "checkpoints" / "file.pyth"
    path.parent.mkdir()
    path.write_bytes(b"before")
    ended = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True)
    assert "file.pyth cannot be written (File too large). " in ended.stdout
    assert ended.stdout.endswith("Make room or choose another folder (OUTPUT_DIR, --out).")
    assert path.read_bytes() == b"before"
    assert [file.name for file in path.parent.iterdir()] == ["file.pyth"]


def test_a_folder_that_is_gone_is_named_and_so_is_a_place_that_is_taken(tmp_path):
    with pytest.raises(
        UserError, match=r"gone/x cannot be written \(No such file .*\)\. See to its folder or"
    ):
        write_file(tmp_path / "gone" / "x", b"1")
    (tmp_path / "best.pyth").mkdir()
    (tmp_path / "epoch.pyth").touch()
    with pytest.raises(UserError, match=r"best\.pyth cannot be written \(Is a directory\)"):
        checkpoint.keep_as_best(str(tmp_path / "epoch.pyth"))


def test_a_checkpoint_that_cannot_be_reached_is_not_called_damaged(tmp_path):
    path = tmp_path / "whole.pyth"
    torch.save({"x": torch.ones(3)}, path)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.raises(UserError, match=r"whole\.pyth cannot be read \(Too many open files\)") as refused:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            checkpoint.read(str(path))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert not isinstance(refused.value, checkpoint.DamagedFile)
    assert torch.equal(checkpoint.read(str(path))["x"], torch.ones(3))


@pytest.mark.parametrize("contents", [b"error", b"Repository not found", b"<html></html>", b"\x80\x02."])
def test_a_file_that_was_never_a_checkpoint_is_an_error_of_a_line(tmp_path, contents):
    (tmp_path / "w.pyth").write_bytes(contents)
    with pytest.raises(UserError, match=r"w.pyth"):
        weights_of(checkpoint.read(str(tmp_path / "w.pyth")), "w.pyth")


def test_a_checkpoint_cut_off_anywhere_is_an_error_of_a_line(tmp_path):
    path = save(tmp_path, trained(), epoch=0)
    whole = Path(path).read_bytes()
    for length in (0, 1, 10, 100, len(whole) // 2, len(whole) - 1):
        Path(path).write_bytes(whole[:length])
        with pytest.raises(UserError, match="checkpoint_epoch_00001.pyth (is|holds)") as raised:
            checkpoint.read(path)
        assert "\n" not in str(raised.value)


class Attack:
    def __reduce__(self):
        return os.mkdir, ("attacked",)


def test_loading_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": Attack()}, "evil.pth")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"model": Attack()}))
    for name in ("evil.pth", "evil.pkl"):
        with pytest.raises(UserError, match=name):
            checkpoint.read(name)
    assert not (tmp_path / "attacked").exists()


def test_weights_alone_are_not_a_run_to_resume(tmp_path):
    torch.save(small_model().state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="has no epoch, model_state, optimizer_state"):
        checkpoint.resume(checkpoint.read(str(tmp_path / "w.pth")), "w.pth", trained())


def test_a_file_of_other_things_is_refused_without_the_advice_to_run_its_code(tmp_path):
    (tmp_path / "notes.txt").write_text("no weights")
    torch.save({"weights": Path("x")}, tmp_path / "w.pth")
    for name, what in (("notes.txt", "plain values. Give one"), ("w.pth", "plain values: it holds pathlib")):
        with pytest.raises(UserError, match=what) as refusal:
            checkpoint.read(str(tmp_path / name))
        assert "weights_only" not in str(refusal.value)


def test_a_folder_for_a_checkpoint_is_answered_with_a_file_in_it(tmp_path):
    newest = tmp_path / "checkpoints" / "checkpoint_epoch_00002.pyth"
    newest.parent.mkdir()
    newest.touch()
    for folder in (tmp_path, newest.parent):
        with pytest.raises(UserError, match=f"{folder}' is a folder. Name a file, such as {newest}"):
            checkpoint.read(str(folder))


def test_a_file_that_does_not_exist_is_named():
    with pytest.raises(UserError, match="There is no checkpoint 'nowhere.pth'"):
        checkpoint.read("nowhere.pth")
