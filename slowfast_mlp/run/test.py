"""Testing: the weights of a checkpoint on all views of all videos."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from slowfast_mlp.builders import annotations
from slowfast_mlp.builders import model as model_builder
from slowfast_mlp.builders.annotations import Records
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.class_names import match_classes
from slowfast_mlp.checkpoint.weights import label_names_of, load_weights
from slowfast_mlp.config.diff import Change, stored_config
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.engine import results
from slowfast_mlp.engine.evaluate import EvalModel, Evaluation, Evaluator
from slowfast_mlp.errors import UserError
from slowfast_mlp.log.run_log import RunLog
from slowfast_mlp.run.resume import changes_since, newest_whole, save_config
from slowfast_mlp.run.session import Session
from slowfast_mlp.run.summary import protocol

TEST_CONFIG = "test_config.yaml"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A model with the weights to test, the file they are from, and the epochs it says they were trained."""

    model: EvalModel
    path: str
    epoch: int | None


def test(config: Config, model: nn.Module, evaluator: Evaluator, session: Session, videos: Records) -> None:
    """Tests the weights of TEST.CHECKPOINT_FILE_PATH, else the newest, else TRAIN.CHECKPOINT_FILE_PATH."""
    tested = load_tested(config, model, videos.label_names)
    evaluator = replace(evaluator, loader=session.watchdog.watch(evaluator.loader, "the test"))
    progress = partial(results.log_test_progress, session.log, config.log_period)
    (evaluation,) = evaluator([tested.model], progress=progress)
    report_test(
        session.log,
        tested,
        evaluation,
        videos,
        views=protocol(config.test, config.data, config.train.dataset),
        config_name="config.yaml" if config.train.enable else TEST_CONFIG,
        max_failed_fraction=config.test.max_failed_fraction,
    )


def load_tested(config: Config, model: nn.Module, label_names: Sequence[str]) -> Tested:
    """The model, filled with the weights to test. Raises UserError if there are none or they do not fit."""
    path, contents = config.test.checkpoint_file_path, {}
    if not path:
        path, contents = newest_whole(config.output_dir)
    path = path or config.train.checkpoint_file_path
    if not path:
        raise UserError(
            f"There are no weights to test: {checkpoint.folder(config.output_dir)} has none. "
            "Train first, or set TEST.CHECKPOINT_FILE_PATH."
        )
    contents = contents or checkpoint.read(path)
    changes = changes_since(config, contents, path)
    dataset, order = config.test.dataset or config.train.dataset, config.data.channel_order
    is_risky = order == "RGB" and annotations.sampling(config.data, dataset) == "segments"
    is_ours = stored_config(contents.get("cfg")) is not None
    _warn_of_channel_order(changes, path, is_ours=is_ours, is_risky=is_risky)
    if not config.train.enable:
        # Next to the config of the training, whose folder it may be.
        save_config(config.output_dir, dump_config(config), name=TEST_CONFIG)
    weights = model_builder.official_weights(config.model, contents, path)
    loaded = load_weights(model, weights, source=path)
    logger.info("testing %s: %s", path, loaded)
    order = match_classes(label_names_of(contents), label_names, source=path)
    return Tested(
        model=EvalModel(model=model, ensemble=config.test.ensemble, class_order=order),
        path=path,
        epoch=contents["epoch"] + 1 if isinstance(contents.get("epoch"), int) else None,
    )


def report_test(
    log: RunLog,
    tested: Tested,
    evaluation: Evaluation,
    videos: Records,
    views: str,
    config_name: str,
    max_failed_fraction: float,
) -> None:
    """Logs a test and writes its files. Raises UserError if too many videos gave no view.

    `views` is the protocol, in words; `config_name` the file of OUTPUT_DIR with the settings.
    """
    if dist.rank() == 0:
        of_weights = {"checkpoint": tested.path, "epoch": tested.epoch, "list_sha256": videos.fingerprint()}
        results.log_test(
            log,
            evaluation,
            tested=of_weights,
            paths=[video.path for video in videos],
            views=views,
            label_names=videos.label_names,
            config_name=config_name,
        )
    failed = 1 - evaluation.num_decoded / len(evaluation.labels)
    if failed > max_failed_fraction:
        raise UserError(
            f"{100 * failed:.1f} % of the test videos gave no view, more than TEST.MAX_FAILED_FRACTION "
            f"{max_failed_fraction}; they are counted as wrong and listed in "
            f"{os.path.join(log.output_dir, results.FAILED_VIDEOS)}. Mend them, or allow more."
        )


def _warn_of_channel_order(changes: Sequence[Change], path: str, *, is_ours: bool, is_risky: bool) -> None:
    """Warns if the order of the color channels is not that of the training, or unknown and `is_risky`."""
    for key, before, now, _ in changes:
        if key == "DATA.CHANNEL_ORDER":
            logger.warning("%s was trained with %s %s, and is tested with %s", path, key, before, now)
    if not is_ours and is_risky:
        logger.warning(
            "%s does not say in which order of colours it was trained: weights of the forks on "
            "Something-Something need DATA.CHANNEL_ORDER BGR",
            path,
        )
