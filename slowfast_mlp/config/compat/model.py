"""The model of a fork's file: class and layer tables -> MODEL.NAME, VARIANT and ARGS."""

import logging
import re
from typing import Any

from slowfast_mlp.config.compat.keys import DEFAULTS, FIXED, reason_of_dead
from slowfast_mlp.config.compat.source import Theirs
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

# MODEL.ARCH of the forks, whose training loop differs from PySlowFast's.
FORK_ARCHS = ("morph", "pos", "uniformer")
# The classes of MorphMLP's fork, and the frames that make the time positions their weights are sized for.
MORPHMLP_FRAMES = {"MorphMLP": (15, 16), "MorphMLP_32": (31, 32)}
# Depths and widths by which a variant of ours is known.
MORPHMLP_WIDTHS = (112, 224, 392, 784)
MORPHMLP_VARIANTS = {
    "S": ((3, 4, 9, 3), MORPHMLP_WIDTHS),
    "B": ((4, 6, 15, 4), MORPHMLP_WIDTHS),
    "L": ((4, 8, 18, 6), MORPHMLP_WIDTHS),
}
POSMLP_VIDEO_VARIANTS = {
    "S": ((3, 4, 9, 3), (72, 144, 288, 576)),
    "S96": ((3, 4, 9, 3), (96, 192, 384, 768)),
    "B": ((4, 6, 15, 4), (72, 144, 288, 576)),
    "B96": ((4, 6, 15, 4), (96, 192, 384, 768)),
}
MORPHMLP_CHUNK_LENS = (14, 28, 28, 49)
POSMLP_VIDEO_GROUPS = (8, 16, 32, 64)
POSMLP_VIDEO_WINDOWS = (14, 14, 14, 7)
WEIGHTS_OF_VARIANT = re.compile(r"_(?P<variant>[sb])\.\w+$")


def model_settings(theirs: Theirs) -> dict[str, Any]:
    """MODEL.NAME, VARIANT and ARGS; nothing where MODEL.NAME is given behind the file. Raises UserError."""
    if not theirs.takes_model:
        logger.warning(
            "%s: its model (%s) is left out for MODEL.NAME, and the rest of the file is used",
            theirs.source,
            theirs["MODEL.MODEL_NAME"],
        )
        return {}
    name = theirs["MODEL.MODEL_NAME"]
    if name in MORPHMLP_FRAMES:
        settings = _morphmlp(theirs)
    elif name == "PosMLP_Video":
        settings = _posmlp_video(theirs)
    else:
        raise UserError(_not_a_model_of_ours(theirs))
    crop_size, test_crop_size = theirs["DATA.TRAIN_CROP_SIZE"], theirs["DATA.TEST_CROP_SIZE"]
    if crop_size != test_crop_size:
        by_default = "" if "DATA.TEST_CROP_SIZE" in theirs.given else " (PySlowFast's default)"
        raise UserError(
            f"{theirs.source}: DATA.TEST_CROP_SIZE {test_crop_size}{by_default} does not fit {name}, which "
            f"has weights for every place of a crop of DATA.TRAIN_CROP_SIZE {crop_size}. Set "
            f"DATA.TEST_CROP_SIZE {crop_size}."
        )
    return settings


def _not_a_model_of_ours(theirs: Theirs) -> str:
    name, arch = theirs["MODEL.MODEL_NAME"], theirs["MODEL.ARCH"]
    way_out = (
        "Behind the file, MODEL.NAME and MODEL.VARIANT (such as MODEL.NAME morphmlp MODEL.VARIANT S) train "
        "a backbone of this project with the rest of it"
    )
    if name == "PosMLP_Video_32":
        return (
            f"{theirs.source}: MODEL.MODEL_NAME PosMLP_Video_32 is MorphMLP_32 under another name in the "
            f"fork, not PosMLP-Video. {way_out}; or set MODEL.MODEL_NAME PosMLP_Video and its widths and "
            "windows."
        )
    understood = [key for key in theirs.given if key in DEFAULTS or key in FIXED]
    dead = [key for key in theirs.given if reason_of_dead(key)]
    return (
        f"{theirs.source}: MODEL.ARCH {arch}, MODEL.MODEL_NAME {name}: this model is not here; of the forks "
        f"there are {', '.join(MORPHMLP_FRAMES)} and PosMLP_Video. {way_out}: of its {len(theirs.given)} "
        f"keys {len(understood)} are understood (data, augmentation, learning rate, test), and {len(dead)} "
        "have no effect here."
    )


def _morphmlp(theirs: Theirs) -> dict[str, Any]:
    name, num_frames = theirs["MODEL.MODEL_NAME"], theirs["DATA.NUM_FRAMES"]
    fitting = MORPHMLP_FRAMES[name]
    if num_frames not in fitting:
        other = next((kind for kind, frames in MORPHMLP_FRAMES.items() if num_frames in frames), None)
        advice = f"MODEL.MODEL_NAME {other} or " if other else ""
        raise UserError(
            f"{theirs.source}: MODEL.MODEL_NAME {name} has weights for {fitting[-1]} frames, and "
            f"DATA.NUM_FRAMES is {num_frames}: in the fork the first clip ends with an error of shapes. Set "
            f"{advice}DATA.NUM_FRAMES {fitting[-1]}."
        )
    depths, dims = theirs.numbers("MORPH.LAYERS"), theirs.numbers("MORPH.EMBED_DIMS")
    variant, arguments = _variant(MORPHMLP_VARIANTS, depths, dims)
    if not arguments:
        _demand_weights_of_variant(theirs, variant)
    chunk_lens = theirs.numbers("MORPH.SEGMENT_DIM")
    if chunk_lens != MORPHMLP_CHUNK_LENS:
        arguments["chunk_lens"] = list(chunk_lens)
    ratios = set(theirs.numbers("MORPH.MLP_RATIOS"))
    if len(ratios) != 1:
        raise UserError(
            f"{theirs.source}: MORPH.MLP_RATIOS {theirs['MORPH.MLP_RATIOS']}: give one ratio for all stages."
        )
    if ratios != {3}:
        arguments["mlp_ratio"] = ratios.pop()
    theirs.pretrain_path = theirs["MORPH.PRETRAIN_PATH"]
    return _settings(theirs, "morphmlp", variant, arguments, rate_key="MORPH.DROP_DEPTH_RATE")


def _demand_weights_of_variant(theirs: Theirs, variant: str) -> None:
    """Refuses weights that are by their name those of other depths: the fork loads what fits."""
    path = theirs["MORPH.PRETRAIN_PATH"] or ""
    hint = WEIGHTS_OF_VARIANT.search(path)
    if hint is None or not theirs["TRAIN.ENABLE"] or theirs["TRAIN.CHECKPOINT_FILE_PATH"]:
        return
    named = hint["variant"].upper()
    if named != variant:
        right = path[: hint.start("variant")] + variant.lower() + path[hint.end("variant") :]
        raise UserError(
            f"{theirs.source}: MORPH.PRETRAIN_PATH {path!r} is, by its name, of {named}, and MORPH.LAYERS "
            f"{list(theirs['MORPH.LAYERS'])} are those of {variant}: the fork leaves the blocks in which "
            f"they differ random without a word. Set MORPH.PRETRAIN_PATH {right}."
        )


def _posmlp_video(theirs: Theirs) -> dict[str, Any]:
    num_frames, dims = theirs["DATA.NUM_FRAMES"], theirs.numbers("POSMLP_VIDEO.EMBED_DIMS")
    groups, time_windows = theirs.numbers("POSGAMMA"), theirs.numbers("WIN_SIZE_T")
    wrong = [(dim, group) for dim, group in zip(dims, groups) if dim % group]
    if wrong:
        raise UserError(
            f"{theirs.source}: POSMLP_VIDEO.EMBED_DIMS {list(dims)}: the width {wrong[0][0]} is no multiple "
            f"of its POSGAMMA {wrong[0][1]}, so the fork's first clip ends with an error. Set "
            "POSMLP_VIDEO.EMBED_DIMS [72,144,288,576], or POSGAMMA."
        )
    if any(window != num_frames for window in time_windows):
        by_default = "" if "WIN_SIZE_T" in theirs.given else " (the fork's default)"
        raise UserError(
            f"{theirs.source}: WIN_SIZE_T {list(time_windows)}{by_default}: PosMLP_Video mixes all "
            f"DATA.NUM_FRAMES {num_frames} frames in every stage. Set WIN_SIZE_T {[num_frames] * 4}."
        )
    variant, arguments = _variant(POSMLP_VIDEO_VARIANTS, theirs.numbers("POSMLP_VIDEO.LAYERS"), dims)
    if groups != POSMLP_VIDEO_GROUPS:
        arguments["num_groups"] = list(groups)
    windows = theirs.numbers("WIN_SIZE")
    if windows != POSMLP_VIDEO_WINDOWS:
        arguments["windows"] = list(windows)
    theirs.pretrain_path = theirs["POSMLP_VIDEO.PRETRAIN_PATH"]
    return _settings(theirs, "posmlp_video", variant, arguments, rate_key="POSMLP_VIDEO.DROP_DEPTH_RATE")


def _variant(
    variants: dict[str, tuple], depths: tuple[int, ...], dims: tuple[int, ...]
) -> tuple[str, dict[str, Any]]:
    """The variant of these depths and widths; of others S, with them as arguments."""
    for variant, row in variants.items():
        if row == (depths, dims):
            return variant, {}
    return "S", {"depths": list(depths), "dims": list(dims)}


def _settings(
    theirs: Theirs, name: str, variant: str, arguments: dict[str, Any], *, rate_key: str
) -> dict[str, Any]:
    arguments = {**arguments, "drop_path": float(theirs.number(rate_key))}
    return {"MODEL.NAME": name, "MODEL.VARIANT": variant, "MODEL.ARGS": arguments}
