"""Checkpoints: saved atomically under PySlowFast's file and key names, verified when read, resumed.

A file holds epoch (index of the last finished epoch), step (steps done of the next one), model_state,
optimizer_state, scaler_state and the states of whatever else takes part in training (ema_state where weights
are averaged), cfg (YAML text), label_names (in the order of the outputs; empty if unknown), and of the middle
of an epoch what every rank has for itself (rank_states). Only tensors and plain values are ever read
(`weights_only`), so that loading runs no code from a file.
"""

import argparse
import errno
import logging
import os
import pickle
import re
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from iopath.common.file_io import g_pathmgr
from torch import Tensor

from slowfast_mlp.atomic_file import atomic_write, explain_write_errors
from slowfast_mlp.checkpoint.weights import EMA_KEY, load_weights, weights_of
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

FILE_NAME = re.compile(r"checkpoint_epoch_(\d{5,})(?:_step_(\d{5,}))?\.pyth")
BEST = "best.pyth"
DAMAGED = ".damaged"
# The parts of a training are saved as <name>_state; PySlowFast has another name for this one.
STATE_KEYS = {"precision": "scaler_state"}
# What the system says of a file that it does not let one read, whatever is in it.
OUT_OF_REACH = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT)


class DamagedFile(UserError):
    """A file that is there and cannot be a whole checkpoint."""


class Stateful(Protocol):
    """An object with saved state: model, optimizer, precision."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Restores what `state_dict` returned."""


def folder(output_dir: str) -> str:
    """The folder of a run's checkpoints."""
    return os.path.join(output_dir, "checkpoints")


def file_name(epoch: int, step: int) -> str:
    """The name of the checkpoint after `epoch` whole epochs and `step` steps of the next."""
    within = f"checkpoint_epoch_{epoch + 1:05d}_step_{step:05d}.pyth"
    return within if step else f"checkpoint_epoch_{epoch:05d}.pyth"


def newest_first(output_dir: str) -> list[str]:
    """The checkpoints of a run, the latest position in training first."""
    where = folder(output_dir)
    names = g_pathmgr.ls(where) if g_pathmgr.isdir(where) else []
    matches = [match for name in names if (match := FILE_NAME.fullmatch(name))]
    matches.sort(key=lambda match: (int(match[1]) - bool(match[2]), int(match[2] or 0)), reverse=True)
    return [os.path.join(where, match[0]) for match in matches]


def newest(output_dir: str) -> str | None:
    """The checkpoint of the latest position in training, or None."""
    return next(iter(newest_first(output_dir)), None)


def snapshot(
    parts: Mapping[str, Stateful],
    *,
    epoch: int,
    step: int = 0,
    config_text: str,
    label_names: Sequence[str] = (),
    also: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The contents of a checkpoint: the states of all parts, copied to the CPU so that training can go on.

    `epoch` is the index of the last finished epoch, -1 in the first; `step` counts the steps done since;
    `also` holds further entries.
    """
    states = {STATE_KEYS.get(name, f"{name}_state"): part.state_dict() for name, part in parts.items()}
    return {
        "epoch": epoch,
        "step": step,
        **_copied(states),
        "cfg": config_text,
        "label_names": list(label_names),
        **(also or {}),
    }


def _copied(tree: Any) -> Any:
    """A nest of dicts and lists with its tensors copied to the CPU."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, Mapping):
        return {name: _copied(value) for name, value in tree.items()}
    return type(tree)(map(_copied, tree)) if isinstance(tree, list | tuple) else tree


def save(output_dir: str, contents: Mapping[str, Any], name: str | None = None) -> str:
    """Writes a snapshot under the name of its position in training, or `name`, and returns its path.

    The file appears whole or not at all. Raises UserError.
    """
    name = name or file_name(contents["epoch"] + 1, contents["step"])
    path = os.path.join(folder(output_dir), name)
    with explain_write_errors(path):
        os.makedirs(folder(output_dir), exist_ok=True)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            torch.save(dict(contents), file)
    return path


def prune(output_dir: str, keep_last: int) -> None:
    """Deletes all but the newest checkpoints; best.pyth is none of them."""
    for path in newest_first(output_dir)[keep_last:]:
        try:
            g_pathmgr.rm(path)
        except FileNotFoundError:
            logger.info("%s is gone already", path)  # deleted by someone else


def keep_as_best(path: str) -> None:
    """Gives a checkpoint the second name best.pyth, under which it is not pruned. Raises UserError."""
    best = os.path.join(os.path.dirname(path), BEST)
    with explain_write_errors(best), atomic_write(best) as temporary:
        try:
            os.link(path, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, temporary)


def set_aside(path: str) -> str:
    """Renames a damaged checkpoint, so that it is neither used nor lost. Returns the new path."""
    os.replace(path, path + DAMAGED)
    return path + DAMAGED


def check_file(path: str) -> None:
    """Raises UserError if there is no such file."""
    if g_pathmgr.isdir(path):
        found = newest_first(path) or newest_first(os.path.dirname(path.rstrip("/")))
        raise UserError(
            f"The checkpoint {path!r} is a folder. Name a file{f', such as {found[0]}' if found else ''}."
        )
    if not g_pathmgr.isfile(path):
        raise UserError(f"There is no checkpoint {path!r}.")


def read(path: str) -> dict[str, Any]:
    """The contents of a checkpoint file, on the CPU, checked against its checksums.

    Raises UserError, and DamagedFile for a file that is not a whole checkpoint.
    """
    check_file(path)
    try:
        # timm's trainers save their arguments with the weights: an object of plain values.
        with g_pathmgr.open(path, "rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
            _check_checksums(file, path)
            contents = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's message advises to load the file anyway, which would run the code in it.
        other = re.search(r"GLOBAL (\S+) was not", str(error))
        holds = f": it holds {other[1]}" if other else ""
        raise DamagedFile(
            f"{path} is no PyTorch checkpoint of tensors and plain values{holds}. Give one of a training, or "
            "weights that were saved without anything else."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, LookupError) as error:
        if isinstance(error, UserError):
            raise
        if isinstance(error, OSError) and error.errno in OUT_OF_REACH:
            raise UserError(
                f"{path} cannot be read ({error.strerror}), which says nothing of what is in it. See to "
                "permissions, limits (ulimit -n) and mounts, and run the same command again."
            ) from error
        size = os.path.getsize(g_pathmgr.get_local_path(path))
        raise DamagedFile(
            f"{path} is damaged or cut off, or no checkpoint ({size:,} bytes). Fetch it again."
        ) from error
    if not isinstance(contents, Mapping):
        raise UserError(f"{path} holds a {type(contents).__name__}, not weights by name.")
    return dict(contents)


def _check_checksums(file: Any, path: str) -> None:
    """Compares every record with the CRC-32 that torch.save wrote, which torch.load does not do.

    Files older than torch 1.6 are not zip archives and have no checksums.
    """
    if zipfile.is_zipfile(file):
        file.seek(0)
        try:
            broken = zipfile.ZipFile(file).testzip()
        except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise DamagedFile(f"{path} is damaged ({error}). Fetch it again.") from error
        if broken:
            raise DamagedFile(f"{path} is damaged: {broken} does not match its checksum. Fetch it again.")
    file.seek(0)


def resume(contents: dict[str, Any], path: str, parts: Mapping[str, Stateful]) -> None:
    """Restores all parts, among them `model` and `optimizer`, from the contents of a checkpoint of a run.

    Parts missing from the file are re-initialized, with a warning. Raises UserError if the contents do not
    fit.
    """
    absent = {"epoch", "model_state", "optimizer_state"} - set(contents)
    if absent:
        raise UserError(
            f"{path} has no {', '.join(sorted(absent))}: it holds weights to start from "
            "(TRAIN.CHECKPOINT_FILE_PATH), not a run to resume."
        )
    trained = {name: value for name, value in contents.items() if name != EMA_KEY}
    load_weights(parts["model"], weights_of(trained, path), source=path)
    _load_optimizer(parts["optimizer"], contents["optimizer_state"], path)
    contents = {"scaler_state": contents.get("scaler", {}), **contents}  # the name in older forks
    for name, part in parts.items():
        key = STATE_KEYS.get(name, f"{name}_state")
        if name in ("model", "optimizer"):
            continue
        if key in contents:
            part.load_state_dict(contents[key])
        else:
            logger.warning("%s holds no %s, which is re-initialized", path, key)


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], path: str) -> None:
    try:
        load_optimizer_state(optimizer, state)
    except ValueError as error:
        raise UserError(f"{path}: the state of its optimiser does not fit ({error}).") from error


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restores a saved state; learning rate, weight decay and the like stay as set in the config.

    Raises ValueError if the groups do not fit.
    """
    settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, settings):
        group.update(own)
