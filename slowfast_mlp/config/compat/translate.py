"""The YAMLs of PySlowFast and its forks (MorphMLP, PosMLP-Video, UniFormer) as settings of this project.

`translate` is called by load_config with the contents of a file; nothing else knows of it. What a file does
not say has PySlowFast's default, not ours. Keys without effect here are named once, with the reason; values
that contradict each other, or that would train something else, are refused.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from slowfast_mlp.config.compat.data import data_settings
from slowfast_mlp.config.compat.keys import DEAD, DEFAULTS, FIXED, SAME, reason_of_dead
from slowfast_mlp.config.compat.model import FORK_ARCHS, model_settings
from slowfast_mlp.config.compat.source import Theirs
from slowfast_mlp.config.parsing import parse_value
from slowfast_mlp.errors import UserError, nearest_name

logger = logging.getLogger(__name__)

# Their own marks: sections that no file of ours has. MODEL.ARCH and MODEL.MODEL_NAME are others.
FORK_SECTIONS = ("MORPH", "POSMLP_VIDEO", "UNIFORMER", "MVIT", "SLOWFAST", "RESNET", "X3D")
# Their names of optimisers that have another here: an AdamW that does the same in fewer kernels.
OPTIMIZERS = {"mt_adamw": "adamw"}


def is_foreign(tree: dict[str, Any]) -> bool:
    """Whether the contents of a YAML file are PySlowFast's or a fork's."""
    model = tree.get("MODEL")
    names = set(model) if isinstance(model, dict) else set()
    return bool(names & {"ARCH", "MODEL_NAME"} or tree.keys() & set(FORK_SECTIONS))


def translate(
    tree: dict[str, Any], overrides: Sequence[str], *, source: str
) -> tuple[dict[str, Any], list[str]]:
    """Our tree of settings for theirs, and the overrides that are left, those of keys that only we have.

    Overrides of their keys are taken as if they stood in the file. Raises UserError that names the key.
    """
    given = dict(_flat(tree))
    overridden, ours = _split(overrides)
    given |= overridden
    _demand_known(given, source)
    theirs = Theirs(given, source=source, own_keys=ours[::2])
    # Which model it is decides about everything else, so its errors come first.
    settings = model_settings(theirs)
    _fixed_settings(theirs)
    settings |= {key: theirs[key] for key in SAME}
    settings |= data_settings(theirs)
    settings |= _training_settings(theirs)
    settings |= _machine_settings(theirs)
    _name_dead(theirs)
    return _nested(settings), ours


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _nested(settings: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return tree


def _split(overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The overrides of keys that they have, as values, and the words of the others."""
    if len(overrides) % 2:
        return {}, list(overrides)  # refused where overrides are read
    theirs, ours = {}, []
    for key, text in zip(overrides[::2], overrides[1::2]):
        is_theirs = key in DEFAULTS or key in FIXED or reason_of_dead(key)
        if is_theirs or key.split(".")[0] in FORK_SECTIONS:
            theirs[key] = text if isinstance(DEFAULTS.get(key), str) else parse_value(text)
        else:
            ours += [key, text]
    return theirs, ours


def _demand_known(given: dict[str, Any], source: str) -> None:
    known = [*DEFAULTS, *FIXED, *(key for key in DEAD if "*" not in key)]
    for key in given:
        if key not in known and reason_of_dead(key) is None:
            if key in ("MODEL.NAME", "MODEL.VARIANT", "MODEL.ARGS"):
                raise UserError(
                    f"{source}: {key} is a setting of this project, and other keys of the file are "
                    "PySlowFast's, such as MODEL.ARCH. Keep one kind, or give ours behind the file."
                )
            raise UserError(f"{source}: unknown key {key} of PySlowFast or a fork.{nearest_name(key, known)}")


def _fixed_settings(theirs: Theirs) -> None:
    """Refuses, or tells of, values of FIXED keys that are not what happens here."""
    for key, fixed in FIXED.items():
        value = theirs.given.get(key, fixed.default)
        if value in fixed.values or (fixed.of_training and not theirs["TRAIN.ENABLE"]):
            continue
        if key.startswith("MORPH.") and not theirs.takes_model:
            continue
        written = f"{key} {value!r}" + ("" if key in theirs.given else " (PySlowFast's default)")
        if fixed.refused:
            raise UserError(
                f"{theirs.source}: {written}: {fixed.reason}. Set {key} {fixed.values[0]} to run with that."
            )
        if key in theirs.given or key == "SOLVER.ZERO_WD_1D_PARAM":
            logger.warning("%s: %s has no effect: %s", theirs.source, written, fixed.reason)


def _training_settings(theirs: Theirs) -> dict[str, Any]:
    """Loss, optimiser, learning rate, precision and batch."""
    loss, mixes = theirs["MODEL.LOSS_FUNC"], theirs["MIXUP.ENABLE"]
    if loss not in ("cross_entropy", "soft_cross_entropy"):
        raise UserError(
            f"{theirs.source}: MODEL.LOSS_FUNC {loss!r}: the loss here is the cross entropy. Set "
            "MODEL.LOSS_FUNC soft_cross_entropy."
        )
    if mixes and loss == "cross_entropy" and theirs["TRAIN.ENABLE"]:
        raise UserError(
            f"{theirs.source}: MIXUP.ENABLE True mixes labels, and MODEL.LOSS_FUNC 'cross_entropy' takes "
            "whole ones. Set MODEL.LOSS_FUNC soft_cross_entropy, or MIXUP.ENABLE False."
        )
    is_fork = theirs["MODEL.ARCH"] in FORK_ARCHS
    num_shards = theirs.number("NUM_SHARDS")
    scale = num_shards if theirs["SOLVER.BASE_LR_SCALE_NUM_SHARDS"] else 1
    # The forks clip by a key of their own and always train with fp16, whatever MIXED_PRECISION says.
    clip_key, dead_key = "SOLVER.CLIP_GRADIENT", "SOLVER.CLIP_GRAD_L2NORM"
    clip_key, dead_key = (clip_key, dead_key) if is_fork else (dead_key, clip_key)
    theirs.name_dead(dead_key, f"{'the forks clip' if is_fork else 'PySlowFast clips'} by {clip_key}")
    optimizer = theirs["SOLVER.OPTIMIZING_METHOD"]
    half = is_fork or theirs["TRAIN.MIXED_PRECISION"]
    if is_fork:
        theirs.name_dead(
            "TRAIN.MIXED_PRECISION", "the forks always train in fp16 (TRAIN.PRECISION changes it)"
        )
    return {
        "TRAIN.BATCH_SIZE": theirs.number("TRAIN.BATCH_SIZE") * num_shards,  # theirs is a machine's
        "TRAIN.CHECKPOINT_FILE_PATH": theirs["TRAIN.CHECKPOINT_FILE_PATH"] or theirs.pretrain_path or "",
        "TRAIN.PRECISION": _precision(theirs) if half else "fp32",
        "MODEL.SYNC_BN": theirs["BN.NORM_TYPE"] != "batchnorm",
        "SOLVER.OPTIMIZING_METHOD": OPTIMIZERS.get(optimizer, optimizer),
        "SOLVER.BASE_LR": theirs.number("SOLVER.BASE_LR") * scale,
        "SOLVER.WARMUP_START_LR": theirs.number("SOLVER.WARMUP_START_LR") * scale,
        "SOLVER.COSINE_END_LR": theirs.number("SOLVER.COSINE_END_LR") * scale,
        "SOLVER.CLIP_GRAD_L2NORM": theirs[clip_key] or None,
        "SOLVER.LABEL_SMOOTHING": theirs["MIXUP.LABEL_SMOOTH_VALUE"] if mixes else 0.0,
    }


def _precision(theirs: Theirs) -> str:
    """fp16 on the GPUs that the file asks for; on a CPU, or where NUM_GPUS None takes what there is, not."""
    return {None: "auto", 0: "fp32"}.get(theirs["NUM_GPUS"], "fp16")


def _machine_settings(theirs: Theirs) -> dict[str, Any]:
    """What goes by the number of GPUs, and where it is written."""
    num_processes = theirs.number("NUM_GPUS") if theirs["NUM_GPUS"] else 1
    clips_per_process = theirs.number("TEST.BATCH_SIZE") // num_processes
    # Two runs with "." would go on from each other's checkpoints.
    folder = {} if theirs["OUTPUT_DIR"] in (".", "./", "") else {"OUTPUT_DIR": theirs["OUTPUT_DIR"]}
    return {"TEST.BATCH_SIZE": max(1, int(clips_per_process)), **folder}


def _name_dead(theirs: Theirs) -> None:
    for key in theirs.given:
        if reason := reason_of_dead(key):
            theirs.name_dead(key, reason)
