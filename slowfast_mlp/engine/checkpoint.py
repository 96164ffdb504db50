"""Checkpoints: PySlowFast's file and key names, written beside and renamed, loaded with a report.

A file holds epoch (index of the finished epoch), model_state, optimizer_state, scaler_state, ema_state where
weights are averaged, cfg (YAML text) and label_names (in the order of the outputs; empty if unknown). Only
tensors and plain values are ever read (`weights_only`), so that loading runs no code from a file.
"""

import argparse
import logging
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from iopath.common.file_io import g_pathmgr
from torch import Tensor, nn

from slowfast_mlp.engine.ema import Ema
from slowfast_mlp.engine.optimizer import load_optimizer_state
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

FILE_NAME = re.compile(r"checkpoint_epoch_(\d{5,})\.pyth")
EMA_KEY = "ema_state"
# Under which key the weights lie in files of PySlowFast, its forks, timm and the image models' code.
WEIGHT_KEYS = ("model_state", "state_dict_ema", "state_dict", "model")
NUM_NAMES_SHOWN = 5


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


def newest(output_dir: str) -> str | None:
    """The checkpoint of the latest epoch, or None."""
    where = folder(output_dir)
    names = g_pathmgr.ls(where) if g_pathmgr.isdir(where) else []
    numbered = [(int(match[1]), name) for name in names if (match := FILE_NAME.fullmatch(name))]
    return os.path.join(where, max(numbered)[1]) if numbered else None


def save(
    output_dir: str,
    *,
    epoch: int,
    model: Stateful,
    optimizer: Stateful,
    precision: Stateful,
    config_text: str,
    label_names: Sequence[str] = (),
    ema: Stateful | None = None,
) -> str:
    """Writes the checkpoint of finished epoch index `epoch` and returns its path.

    The file appears whole or not at all: it is written beside, flushed to the disk and renamed.
    """
    g_pathmgr.mkdirs(folder(output_dir))
    path = os.path.join(folder(output_dir), f"checkpoint_epoch_{epoch + 1:05d}.pyth")
    contents = {
        "epoch": epoch,
        "model_state": model.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "scaler_state": precision.state_dict(),
        "cfg": config_text,
        "label_names": list(label_names),
        **({EMA_KEY: ema.state_dict()} if ema else {}),
    }
    write_atomically(path, lambda file: torch.save(contents, file))
    return path


def save_weights(path: str, *, model: Stateful, config_text: str, label_names: Sequence[str] = ()) -> None:
    """Writes weights alone, to start from or to test."""
    contents = {"model_state": model.state_dict(), "cfg": config_text, "label_names": list(label_names)}
    write_atomically(path, lambda file: torch.save(contents, file))


def write_atomically(path: str, write: Any) -> None:
    """Calls `write(file)` on a binary file beside `path` and renames it to `path` when it is safely on the
    disk.
    """
    beside = f"{path}.part"
    try:
        with g_pathmgr.open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch.save answers a full disk with a RuntimeError
        if g_pathmgr.exists(beside):
            g_pathmgr.rm(beside)
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise UserError(f"{path} cannot be written ({reason}). Make room or set OUTPUT_DIR.") from error
    os.replace(g_pathmgr.get_local_path(beside), g_pathmgr.get_local_path(path))


def demand_file(path: str) -> None:
    """Raises UserError if there is no such file."""
    if not g_pathmgr.isfile(path):
        raise UserError(f"There is no checkpoint {path!r}.")


def read(path: str) -> dict[str, Any]:
    """The contents of a checkpoint file, on the CPU. Raises UserError."""
    demand_file(path)
    try:
        # timm's trainers keep their arguments beside the weights: a bag of plain values.
        with g_pathmgr.open(path, "rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
            contents = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is no PyTorch checkpoint of tensors and plain values: {reason}") from error
    except (RuntimeError, EOFError, ValueError, OSError, LookupError) as error:
        size = os.path.getsize(g_pathmgr.get_local_path(path))
        raise UserError(
            f"{path} is damaged or cut off, or no checkpoint ({size:,} bytes). Fetch it again; if it is the "
            "newest of a run, delete it to go on from the one before."
        ) from error
    if not isinstance(contents, Mapping):
        raise UserError(f"{path} holds a {type(contents).__name__}, not weights by name.")
    return dict(contents)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


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


def resume(
    contents: dict[str, Any],
    path: str,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    precision: Stateful,
    ema: Ema | None = None,
) -> int:
    """Takes up the contents of a checkpoint of our own and returns the next epoch.

    Raises UserError if they do not fit.
    """
    absent = {"epoch", "model_state", "optimizer_state"} - set(contents)
    if absent:
        raise UserError(
            f"{path} has no {', '.join(sorted(absent))}: it holds weights to start from "
            "(TRAIN.CHECKPOINT_FILE_PATH), not a run to resume."
        )
    trained = {name: value for name, value in contents.items() if name != EMA_KEY}
    load_weights(model, weights_of(trained, path), source=path)
    _resume_ema(ema, contents.get(EMA_KEY), path)
    try:
        load_optimizer_state(optimizer, contents["optimizer_state"])
    except ValueError as error:
        raise UserError(f"{path}: the state of its optimiser does not fit ({error}).") from error
    precision.load_state_dict(contents.get("scaler_state") or contents.get("scaler") or {})
    return int(contents["epoch"]) + 1


def _resume_ema(ema: Ema | None, state: dict[str, Any] | None, path: str) -> None:
    if ema and state:
        ema.load_state_dict(state)
    elif ema:
        logger.warning("%s has no averaged weights: TRAIN.EMA_DECAY averages from its weights on", path)
        ema.restart()
    elif state:
        logger.warning("the averaged weights of %s are dropped, as TRAIN.EMA_DECAY is 0", path)
