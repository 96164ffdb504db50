"""What of an earlier run is taken up, and what is refused."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from slowfast_mlp.build import backbone
from slowfast_mlp.config.changes import model_changes, stored_config, training_changes
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.engine import checkpoint
from slowfast_mlp.engine import distributed as dist
from slowfast_mlp.engine.class_names import match_classes
from slowfast_mlp.engine.ema import Ema
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)


def resume_or_start(
    config: Config,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    precision: Precision,
    num_epochs: int,
    label_names: Sequence[str],
    ema: Ema | None = None,
) -> int:
    """Takes up the newest checkpoint, or the weights to start from; returns the first epoch to train."""
    newest = newest_checkpoint(config)
    if newest and not config.train.auto_resume:
        raise UserError(
            f"OUTPUT_DIR {config.output_dir} holds checkpoints of an earlier run, and TRAIN.AUTO_RESUME is "
            "False. Choose another OUTPUT_DIR, or resume."
        )
    if newest:
        contents = checkpoint.read(newest)
        before = demand_same_model(config, contents, newest)
        if before and before.data.shuffle_frames != config.data.shuffle_frames:
            raise UserError(
                f"{newest} was trained with DATA.SHUFFLE_FRAMES {before.data.shuffle_frames}. Give the "
                "control an OUTPUT_DIR of its own."
            )
        trained = checkpoint.label_names_of(contents)
        if match_classes(trained, label_names, source=newest) is not None:
            raise UserError(
                f"{newest} was trained with the classes in another order. Go on with the list of label names "
                "and labels that it was trained on; or start from its weights with "
                "TRAIN.CHECKPOINT_FILE_PATH and another OUTPUT_DIR: its head is then sorted by name."
            )
        parts = dict(model=model, optimizer=optimizer, precision=precision, ema=ema)
        epoch = checkpoint.resume(contents, newest, **parts)
        logger.info("resumed from %s: %d epochs are done", newest, epoch)
        if epoch >= num_epochs:
            logger.warning("nothing to train: SOLVER.MAX_EPOCH is %d", config.solver.max_epoch)
        if before and (changed := training_changes(before, config)):
            logger.warning("resumed with other settings than before: %s", ", ".join(changed))
        return epoch
    if config.train.checkpoint_file_path:
        path = config.train.checkpoint_file_path
        backbone.start_weights(config.model, model, path, label_names=label_names)
        if ema:
            ema.restart()
    return 0


def demand_same_model(config: Config, contents: dict[str, Any], path: str) -> Config | None:
    """Refuses weights whose shapes fit, but which were trained to mean something else.

    Returns the config that they were trained with, if the checkpoint holds it.
    """
    before = stored_config(contents.get("cfg"))
    if before is None:
        logger.info("%s does not hold our settings: only names and shapes of its weights are checked", path)
    elif differing := model_changes(before, config):
        raise UserError(
            f"{path} is a checkpoint of another model: it has {'; '.join(differing)}. Use its settings; or, "
            "to start from its weights, TRAIN.CHECKPOINT_FILE_PATH and another OUTPUT_DIR."
        )
    return before


def newest_checkpoint(config: Config) -> str | None:
    """The newest checkpoint of the output folder, which every rank must see."""
    newest = checkpoint.newest(config.output_dir)
    if set(dist.gather_objects(newest)) != {newest}:
        raise UserError(
            f"OUTPUT_DIR {config.output_dir} does not hold the same checkpoints for all processes: use a "
            "folder that all machines share."
        )
    return newest


def write_config(config: Config) -> None:
    """Saves the config, once nothing refuses it: a mistake must not write over what an earlier run left."""
    if dist.rank() == 0:
        path = os.path.join(config.output_dir, "config.yaml")
        checkpoint.write_atomically(path, lambda file: file.write(dump_config(config).encode()))
