"""Checkpoints: PySlowFast's file and key names, written beside and renamed, loaded with a report.

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
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from iopath.common.file_io import g_pathmgr
from torch import Tensor, nn

from slowfast_mlp.atomic_file import BESIDE, not_written, write_atomically
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

FILE_NAME = re.compile(r"checkpoint_epoch_(\d{5,})(?:_step_(\d{5,}))?\.pyth")
BEST = "best.pyth"
EMA_KEY = "ema_state"
DAMAGED = ".damaged"
# Under which key the weights lie in files of PySlowFast, its forks, timm and the image models' code.
WEIGHT_KEYS = ("model_state", "state_dict_ema", "state_dict", "model")
# The parts of a training are saved as <name>_state; PySlowFast has another name for this one.
STATE_KEYS = {"precision": "scaler_state"}
NUM_NAMES_SHOWN = 5
# What the system says of a file that it does not let one read, whatever is in it.
OUT_OF_REACH = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT)


class DamagedFile(UserError):
    """A file that is there and cannot be a whole checkpoint."""


class Stateful(Protocol):
    """What can be saved and go on: model, optimiser, precision."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Takes up what `state_dict` gave."""


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What became of the entries when weights met a model."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # in the model only
    unexpected: tuple[str, ...]  # in the file only
    misshapen: tuple[str, ...]  # in both, with different shapes

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} entries loaded"]
        for what in ("missing", "unexpected", "misshapen"):
            names = getattr(self, what)
            if names:
                shown = ", ".join(names[:NUM_NAMES_SHOWN]) + (", ..." if len(names) > NUM_NAMES_SHOWN else "")
                parts.append(f"{len(names)} {what} ({shown})")
        return "; ".join(parts)


def folder(output_dir: str) -> str:
    """Where the checkpoints of a run lie."""
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
    """What a checkpoint holds: the states of all parts, copied to the CPU, so that training may go on.

    `epoch` is the index of the last finished epoch, -1 in the first; `step` counts the steps done since;
    `also` has further entries.
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
    """The same nest of dicts and lists with copies of its tensors, on the CPU."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, Mapping):
        return {name: _copied(value) for name, value in tree.items()}
    return type(tree)(map(_copied, tree)) if isinstance(tree, list | tuple) else tree


def save(output_dir: str, contents: Mapping[str, Any], name: str | None = None) -> str:
    """Writes a snapshot under the name of its position in training, or `name`, and returns its path.

    The file appears whole or not at all: it is written beside, flushed to the disk and renamed.
    """
    name = name or file_name(contents["epoch"] + 1, contents["step"])
    path = os.path.join(folder(output_dir), name)
    try:
        g_pathmgr.mkdirs(folder(output_dir))
    except OSError as error:
        raise not_written(path, error) from error
    write_atomically(path, lambda file: torch.save(dict(contents), file))
    return path


def prune(output_dir: str, keep_last: int) -> None:
    """Deletes all but the newest checkpoints; best.pyth is none of them."""
    for path in newest_first(output_dir)[keep_last:]:
        try:
            g_pathmgr.rm(path)
        except FileNotFoundError:
            logger.info("%s is gone already", path)  # somebody tidies up too


def keep_as_best(path: str) -> None:
    """Gives a checkpoint the second name best.pyth, under which it is not pruned. Raises UserError."""
    best = os.path.join(os.path.dirname(path), BEST)
    beside = best + BESIDE
    try:
        if os.path.exists(beside):
            os.remove(beside)
        try:
            os.link(path, beside)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, beside)
        os.replace(beside, best)
    except OSError as error:
        raise not_written(best, error) from error


def clear_leftovers(output_dir: str) -> None:
    """Deletes what a kill left of files that were being written."""
    where = folder(output_dir)
    for name in g_pathmgr.ls(where) if g_pathmgr.isdir(where) else []:
        if name.endswith(f".pyth{BESIDE}"):
            g_pathmgr.rm(os.path.join(where, name))


def set_aside(path: str) -> str:
    """Renames a damaged checkpoint, so that it is neither taken for one nor lost; returns the new path."""
    os.replace(path, path + DAMAGED)
    return path + DAMAGED


def demand_file(path: str) -> None:
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

    Raises UserError, and DamagedFile for what is no whole checkpoint.
    """
    demand_file(path)
    try:
        # timm's trainers keep their arguments beside the weights: a bag of plain values.
        with g_pathmgr.open(path, "rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
            _demand_checksums(file, path)
            contents = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own words advise to load it all the same, which would run the code in it.
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


def _demand_checksums(file: Any, path: str) -> None:
    """Compares every record with the CRC-32 that torch.save wrote beside it, which torch.load does not.

    Files older than torch 1.6 are no zip archives and have none.
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


def weights_of(contents: dict[str, Any], path: str) -> dict[str, Tensor]:
    """The weights in the contents of a file, whatever wrapped them: WEIGHT_KEYS, `module.` prefixes, or
    nothing. Of a file with an average of weights (TRAIN.EMA_DECAY) it is the average.
    """
    if EMA_KEY in contents:
        contents = {"model_state": contents[EMA_KEY]["weights"]}
    for key in WEIGHT_KEYS:
        if isinstance(contents.get(key), Mapping):
            contents = dict(contents[key])
            break
    weights = {
        name.removeprefix("module."): value for name, value in contents.items() if isinstance(value, Tensor)
    }
    if not weights:
        raise UserError(f"{path} holds no weights; its keys are {', '.join(map(str, list(contents)[:10]))}.")
    return weights


def label_names_of(contents: dict[str, Any]) -> tuple[str, ...]:
    """Names of the classes in the order of the outputs; none if the file does not say."""
    return tuple(contents.get("label_names") or ())


def load_weights(
    model: nn.Module, weights: dict[str, Tensor], *, source: str, may_miss: tuple[str, ...] = ()
) -> LoadReport:
    """Copies weights into the model and says what became of every entry.

    Raises UserError unless all fit; entries whose names contain one of `may_miss` may be missing and keep
    their values. Nothing is copied when it raises.
    """
    own = model.state_dict()
    weights = {f: v for f, v in weights.items()}
    # Older files lack the counters of batch norm, which no result depends on.
    missing = tuple(n for n in own if n not in weights and not n.endswith("num_batches_tracked"))
    report = LoadReport(
        loaded=tuple(n for n in own if n in weights and own[n].shape == weights[n].shape),
        missing=missing,
        unexpected=tuple(n for n in weights if n not in own),
        misshapen=tuple(n for n in own if n in weights and own[n].shape != weights[n].shape),
    )
    not_allowed = [n for n in missing if not any(part in n for part in may_miss)]
    if not_allowed or report.unexpected or report.misshapen:
        raise UserError(
            f"{source} does not fit this model: {report}. Set MODEL.NAME, MODEL.VARIANT, MODEL.ARGS, "
            "MODEL.NUM_CLASSES and DATA.NUM_FRAMES to what it was trained with."
        )
    model.load_state_dict({name: weights[name] for name in report.loaded}, strict=False)
    return report


def demand_finite(model: nn.Module) -> None:
    """Raises UserError if a weight is not a finite number: such a file would poison resuming."""
    broken = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise UserError(
            f"{len(broken)} weights are no longer finite ({broken[0]}, ...), so no checkpoint is written. "
            "Lower "
            "SOLVER.BASE_LR, set SOLVER.CLIP_GRAD_L2NORM, or try TRAIN.PRECISION fp32."
        )


def resume(contents: dict[str, Any], path: str, parts: Mapping[str, Stateful]) -> None:
    """Takes up the contents of a checkpoint of our own in all parts, among them `model` and `optimizer`.

    A part of which the file holds nothing starts anew, and that is said. Raises UserError if what it holds
    does not fit.
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
            logger.warning("%s holds no %s, which starts anew", path, key)


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], path: str) -> None:
    try:
        load_optimizer_state(optimizer, state)
    except ValueError as error:
        raise UserError(f"{path}: the state of its optimiser does not fit ({error}).") from error


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Takes up a saved state; rates, decays and the like stay those of the settings.

    Raises ValueError if the groups do not fit.
    """
    settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, settings):
        group.update(own)
