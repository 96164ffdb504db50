"""Testing: the weights of a checkpoint on all views of all videos."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils.data import DataLoader

from slowfast_mlp.builders import annotations, loaders
from slowfast_mlp.builders import model as model_builder
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.class_names import match_classes
from slowfast_mlp.checkpoint.weights import label_names_of, load_weights
from slowfast_mlp.config.schema import Config
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed.watchdog import Watchdog
from slowfast_mlp.engine import results
from slowfast_mlp.engine.evaluate import EvalModel, Evaluation, Evaluator
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.errors import UserError
from slowfast_mlp.log.run_log import RunLog
from slowfast_mlp.run.resume import demand_same_model, newest_whole, write_config
from slowfast_mlp.run.splits import dataset_of_test
from slowfast_mlp.run.summary import protocol

TEST_CONFIG = "test_config.yaml"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A model with the weights to test, the file they are from, and the epochs it says they were trained."""

    candidate: EvalModel
    path: str
    epoch: int | None


def test(
    config: Config,
    *,
    log: RunLog,
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    videos: dict[str, annotations.Records],
    watchdog: Watchdog,
) -> None:
    """Tests the weights of TEST.CHECKPOINT_FILE_PATH, else the newest, else TRAIN.CHECKPOINT_FILE_PATH."""
    tested = load_tested(config, model, videos["test"].label_names)
    evaluator = evaluator_of_test(config, precision, device, videos["test"], watchdog)
    (evaluation,) = evaluator(
        [tested.candidate], progress=partial(results.log_test_progress, log, config.log_period)
    )
    tell(config, log, tested, evaluation, videos["test"])


def load_tested(config: Config, model: nn.Module, label_names: Sequence[str]) -> Tested:
    """The model, filled with the weights to test. Raises UserError where there are none or they do not
    fit.
    """
    path, contents = config.test.checkpoint_file_path, {}
    if not path:
        path, contents = newest_whole(config)
    path = path or config.train.checkpoint_file_path
    if not path:
        raise UserError(
            f"There are no weights to test: {checkpoint.folder(config.output_dir)} has none. "
            "Train first, or set TEST.CHECKPOINT_FILE_PATH."
        )
    contents = contents or checkpoint.read(path)
    _say_other_colours(demand_same_model(config, contents, path), config, path)
    if not config.train.enable:
        write_config(config, name=TEST_CONFIG)  # beside that of the training, whose folder it may be
    weights = model_builder.official_weights(config.model, contents, path)
    loaded = load_weights(model, weights, source=path)
    logger.info("testing %s: %s", path, loaded)
    order = match_classes(label_names_of(contents), label_names, source=path)
    return Tested(
        candidate=EvalModel(model=model, ensemble=config.test.ensemble, class_order=order),
        path=path,
        epoch=contents["epoch"] + 1 if isinstance(contents.get("epoch"), int) else None,
    )


def evaluator_of_test(
    config: Config,
    precision: Precision,
    device: torch.device,
    videos: annotations.Records,
    watchdog: Watchdog,
) -> Evaluator:
    """`evaluator_of` for the views of the test."""
    views = dict(num_clips=config.test.num_ensemble_views, num_crops=config.test.num_spatial_crops)
    views |= dict(dataset=dataset_of_test(config), offset=config.data.use_offset_sampling)
    return evaluator_of(config, precision, device, videos, **views, watchdog=watchdog, what="the test")


def tell(
    config: Config, log: RunLog, tested: Tested, evaluation: Evaluation, videos: annotations.Records
) -> None:
    """Reports a test and writes its files. Raises UserError where too many videos gave no view."""
    if dist.rank() == 0:
        of_weights = {"checkpoint": tested.path, "epoch": tested.epoch, "list_sha256": videos.fingerprint()}
        results.log_test(
            log,
            evaluation,
            tested=of_weights,
            paths=[video.path for video in videos],
            views=protocol(config),
            label_names=videos.label_names,
            config_name="config.yaml" if config.train.enable else TEST_CONFIG,
        )
    failed = 1 - evaluation.num_decoded / len(evaluation.labels)
    if failed > config.test.max_failed_fraction:
        raise UserError(
            f"{100 * failed:.1f} % of the test videos gave no view, more than TEST.MAX_FAILED_FRACTION "
            f"{config.test.max_failed_fraction}; they are counted as wrong and listed in "
            f"{os.path.join(config.output_dir, results.FAILED_VIDEOS)}. Mend them, or allow more."
        )


def evaluator_of(
    config: Config,
    precision: Precision,
    device: torch.device,
    videos: annotations.Records,
    *,
    dataset: str,
    num_clips: int,
    num_crops: int,
    offset: bool,
    watchdog: Watchdog,
    what: str,
) -> Evaluator:
    """The evaluator for these views of the videos, whose batches the watchdog follows as those of `what`."""
    views = dict(dataset=dataset, num_clips=num_clips, num_crops=num_crops, offset=offset)
    loader = loader_of(config, device, videos, **views)
    return Evaluator(
        loader=watchdog.watch(loader, what),
        precision=precision,
        labels=videos.labels,
        num_classes=config.model.num_classes,
        views_per_video=num_clips * num_crops,
        batch_size=config.test.batch_size,
        to_input=loaders.to_input(config.data, device),
        device=device,
    )


def loader_of(
    config: Config,
    device: torch.device,
    videos: annotations.Records,
    *,
    dataset: str,
    num_clips: int,
    num_crops: int,
    offset: bool,
) -> DataLoader:
    """This rank's share of the videos in these views."""
    return loaders.eval_loader(
        config.data,
        config.data_loader,
        videos,
        dataset=dataset,
        views=loaders.EvalViews(
            num_clips=num_clips, num_crops=num_crops, single_crop=config.test.single_crop, offset=offset
        ),
        batch_size=config.test.batch_size,
        process=loaders.LoadingProcess(
            device=device,
            num_cores=dist.cores_of_process(),
            rank=dist.rank(),
            world_size=dist.world_size(),
        ),
        seed=config.rng_seed,
    )


def _say_other_colours(before: Config | None, config: Config, path: str) -> None:
    if before is None and config.data.channel_order == "RGB":
        if annotations.sampling(config.data, dataset_of_test(config)) == "segments":
            logger.warning(
                "%s does not say in which order of colours it was trained: weights of the forks on "
                "Something-Something need DATA.CHANNEL_ORDER BGR", path,
            )  # fmt: skip
    elif before and before.data.channel_order != config.data.channel_order:
        logger.warning(
            "%s was trained with DATA.CHANNEL_ORDER %s, and is tested with %s",
            path, before.data.channel_order, config.data.channel_order,
        )  # fmt: skip
