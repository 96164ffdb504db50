"""The data of a file of PySlowFast or a fork: data set, lists, decoder, crops and what a test sums."""

import logging
from typing import Any

from slowfast_mlp.config.compat.model import FORK_ARCHS
from slowfast_mlp.config.compat.source import Theirs
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

# Their data set -> ours, how frames are chosen, and arguments of read_records. `sth` needs more: see below.
DATASETS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "kinetics": ("kinetics", "auto", {}),
    "kinetics_sparse": ("kinetics", "segments", {}),
    "ssv2": ("ssv2", "auto", {"form": "frame_csv"}),
    "imagenet": ("imagenet", "auto", {}),
}
# What our data sets of frame folders assume, so that a file which says the same needs no arguments.
FRAME_FOLDERS = {
    "ssv1": ("somesomev1_rgb_{}_split.txt", "{:05d}.jpg", {}),
    "ssv2": ("somesomev2_rgb_{}_split.txt", "{:06d}.jpg", {"form": "frames"}),
}
PAPERS_NUM_VIEWS = 4


def data_settings(theirs: Theirs) -> dict[str, Any]:
    """Settings of DATA, TRAIN.DATASET, TEST.DATASET and TEST.ENSEMBLE. Raises UserError."""
    train, test = (_dataset(theirs, key) for key in ("TRAIN.DATASET", "TEST.DATASET"))
    if not theirs["TRAIN.ENABLE"]:
        train = test
    elif theirs["TEST.ENABLE"] and train[1:] != test[1:]:
        raise UserError(
            f"{theirs.source}: TRAIN.DATASET {theirs['TRAIN.DATASET']} and TEST.DATASET "
            f"{theirs['TEST.DATASET']} are read in different ways. Train and test in two runs, with "
            "TEST.ENABLE False and then TRAIN.ENABLE False."
        )
    dataset, sampling, arguments = train
    is_fork = theirs["MODEL.ARCH"] in FORK_ARCHS
    _warn_of_protocol(theirs, dataset, is_fork=is_fork)
    return {
        "TRAIN.DATASET": dataset,
        "TEST.DATASET": test[0] if theirs["TEST.ENABLE"] and test[0] != dataset else None,
        # The forks' models give logits where PySlowFast's give probabilities.
        "TEST.ENSEMBLE": "logits" if is_fork else "probs",
        "DATA.ARGS": arguments,
        "DATA.SAMPLING": sampling,
        "DATA.DECODER": _decoder(theirs, dataset, is_fork=is_fork),
        "DATA.CHANNEL_ORDER": _channel_order(theirs, dataset),
        "DATA.TEST_SHORT_SIZE": _test_short_size(theirs, dataset),
        **_random_crops(theirs),
    }


def _dataset(theirs: Theirs, key: str) -> tuple[str, str, dict[str, Any]]:
    """Our data set, sampling and arguments for one of theirs."""
    name = str(theirs[key]).lower()
    if name in DATASETS:
        return DATASETS[name]
    if name != "sth":
        raise UserError(
            f"{theirs.source}: {key} {theirs[key]!r} is not here; of PySlowFast and the forks there are "
            f"{', '.join(DATASETS)} and sth. {key} kinetics reads any list of `path label`."
        )
    lists, template = theirs["DATA.LABEL_PATH_TEMPLATE"], theirs["DATA.IMAGE_TEMPLATE"]
    known = next((ours for ours, row in FRAME_FOLDERS.items() if f"v{ours[-1]}" in lists.lower()), None)
    ours = known or ("ssv2" if template == FRAME_FOLDERS["ssv2"][1] else "ssv1")
    usual_lists, usual_template, arguments = FRAME_FOLDERS[ours]
    arguments = dict(arguments)
    if template != usual_template:
        arguments["template"] = template
    if lists != usual_lists:
        arguments |= {"train_list": lists.format("train"), "val_list": lists.format("validation")}
    theirs.name_dead("DATA.SAMPLING_RATE", f"{ours} takes a frame of each part of a video")
    theirs.name_dead("DATA.PATH_LABEL_SEPARATOR", "these lists have blanks between their fields")
    return ours, "auto", arguments


def _decoder(theirs: Theirs, dataset: str, *, is_fork: bool) -> str:
    backend = theirs["DATA.DECODING_BACKEND"]
    if dataset != "kinetics":
        theirs.name_dead("DATA.DECODING_BACKEND", f"{dataset} reads pictures")
        return "auto"
    if backend in ("pyav", "decord"):
        if backend == "decord" and is_fork:
            logger.warning(
                "%s: the fork's decord path takes every DATA.SAMPLING_RATE-th frame of a file whatever its "
                "rate; here the rate counts at DATA.TARGET_FPS, which is the same for files of that rate",
                theirs.source,
            )
        return backend
    if backend != "torchvision":
        raise UserError(f"{theirs.source}: DATA.DECODING_BACKEND {backend!r}: use pyav or decord.")
    if "DATA.DECODING_BACKEND" in theirs.given:
        logger.warning(
            "%s: DATA.DECODING_BACKEND torchvision is PyAV here: current torchvision decodes no videos",
            theirs.source,
        )
    return "pyav"


def _channel_order(theirs: Theirs, dataset: str) -> str:
    """RGB, or BGR where the file turns round what a decoder gives; what OpenCV gives it turns to RGB."""
    return "BGR" if theirs["DATA.REVERSE_INPUT_CHANNEL"] and dataset not in FRAME_FOLDERS else "RGB"


def _test_short_size(theirs: Theirs, dataset: str) -> int:
    """The short side of a single test crop: the least jitter scale, or for frame folders the crop."""
    crop_size, scales = theirs.number("DATA.TEST_CROP_SIZE"), theirs.numbers("DATA.TRAIN_JITTER_SCALES")
    if dataset in FRAME_FOLDERS or theirs["TEST.NUM_SPATIAL_CROPS"] != 1 or not scales:
        return crop_size
    return scales[0]


def _random_crops(theirs: Theirs) -> dict[str, Any]:
    """Areas and aspects of training crops; ours where theirs jitters the short side instead."""
    settings = {}
    for key in ("DATA.TRAIN_JITTER_SCALES_RELATIVE", "DATA.TRAIN_JITTER_ASPECT_RELATIVE"):
        if theirs[key]:
            settings[key] = theirs[key]
        elif theirs["TRAIN.ENABLE"]:
            logger.warning(
                "%s: %s is not set, and PySlowFast then crops frames of a random short side; here crops "
                "are of a random area, that of the setting's default",
                theirs.source,
                key,
            )
    return settings


def _warn_of_protocol(theirs: Theirs, dataset: str, *, is_fork: bool) -> None:
    """Says where the file's test would not be the one that made the published figure."""
    if theirs["DATA.RANDOM_FLIP"] and dataset in FRAME_FOLDERS and theirs["TRAIN.ENABLE"]:
        logger.warning(
            "%s: DATA.RANDOM_FLIP is not False, though %s has classes that tell left from right",
            theirs.source,
            dataset,
        )
    if not theirs["TEST.ENABLE"]:
        return
    if is_fork and dataset == "kinetics" and "TEST.NUM_ENSEMBLE_VIEWS" not in theirs.given:
        logger.warning(
            "%s: TEST.NUM_ENSEMBLE_VIEWS is not set and so PySlowFast's default, %d; the papers' tables "
            "have %d",
            theirs.source,
            theirs["TEST.NUM_ENSEMBLE_VIEWS"],
            PAPERS_NUM_VIEWS,
        )
    known_order = "DATA.CHANNEL_ORDER" in theirs.own_keys or theirs["DATA.REVERSE_INPUT_CHANNEL"]
    if dataset in FRAME_FOLDERS and not known_order:
        logger.warning(
            "%s: folders of frames are read as RGB here, and as BGR by PySlowFast and its forks; to test "
            "weights that they trained, add DATA.CHANNEL_ORDER BGR",
            theirs.source,
        )
    single = dataset in FRAME_FOLDERS and theirs["TEST.NUM_SPATIAL_CROPS"] == 1
    if single and "TEST.SINGLE_CROP" not in theirs.own_keys:
        logger.warning(
            "%s: TEST.NUM_SPATIAL_CROPS 1 is the centre crop here, and the left or top one in "
            "PySlowFast's; TEST.SINGLE_CROP first takes that",
            theirs.source,
        )
