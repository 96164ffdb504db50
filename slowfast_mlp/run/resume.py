"""Resuming an earlier run, or starting from other weights."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from slowfast_mlp.atomic_file import clear_leftovers, write_file
from slowfast_mlp.builders import model as model_builder
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.class_names import match_classes
from slowfast_mlp.checkpoint.weights import EMA_KEY, label_names_of
from slowfast_mlp.config.diff import Change, changes_between, fixed_changes, stored_config, training_changes
from slowfast_mlp.config.schema import Config
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.engine.ema import Ema
from slowfast_mlp.engine.training import Training
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where training begins: after `epoch` whole epochs and `step` steps of the next.

    `path` is the checkpoint that it resumes, None at the start. Without `bn_synced` the running statistics of
    the last whole epoch are still to be computed.
    """

    epoch: int = 0
    step: int = 0
    path: str | None = None
    bn_synced: bool = True


def resume(config: Config, training: Training) -> Start:
    """Loads the newest whole checkpoint of OUTPUT_DIR, or the weights to start from. Raises UserError."""
    newest, contents = newest_whole(config.output_dir)
    if newest and not config.train.auto_resume:
        raise UserError(
            f"OUTPUT_DIR {config.output_dir} holds checkpoints of an earlier run, and TRAIN.AUTO_RESUME is "
            "False. Choose another OUTPUT_DIR, or resume."
        )
    start = Start()
    if newest:
        check_same_training(changes_since(config, contents, newest), contents, newest, training)
        checkpoint.resume(contents, newest, training.parts)
        _resume_average(training.ema, contents, newest)
        _set_damaged_aside(config.output_dir, newest)
        start = _position(contents, newest, training)
    elif config.train.checkpoint_file_path:
        path, label_names = config.train.checkpoint_file_path, training.label_names
        model_builder.start_weights(config.model, training.model, path, label_names=label_names)
        if training.ema:
            training.ema.restart()
    save_config(config.output_dir, training.config_text, name="config.yaml")
    _restore_logs(training, contents, start)
    return start


def _restore_logs(training: Training, contents: dict[str, Any], start: Start) -> None:
    """Sets sums, counters and log files to `start`."""
    # Counted now: the sampler forgets the position that it resumed at when running statistics are computed.
    steps = [training.sampler.num_steps(epoch) for epoch in range(training.progress.num_epochs)]
    steps_done = contents.get("steps_done")
    training.progress.resume(steps, epoch=start.epoch, step=start.step, steps_done=steps_done)
    if dist.rank() == 0:
        training.skipped_steps.rewind(epoch=start.epoch, step=start.step)
    rank_states = contents.get("rank_states", ())
    training.rank_state.load(rank_states, rank=dist.rank(), world_size=dist.world_size())


def _resume_average(ema: Ema | None, contents: dict[str, Any], path: str) -> None:
    """Lets an average that the checkpoint does not have begin with its weights; says if one is dropped."""
    if ema and EMA_KEY not in contents:
        ema.restart()
    elif not ema and EMA_KEY in contents:
        logger.warning("the averaged weights of %s are dropped, as TRAIN.EMA_DECAY is 0", path)


def check_same_training(
    changes: Sequence[Change], contents: dict[str, Any], path: str, training: Training
) -> None:
    """Refuses to resume with settings or classes that would make it another training; warns of others."""
    for key, before, _, _ in changes:
        if key == "DATA.SHUFFLE_FRAMES":
            raise UserError(
                f"{path} was trained with {key} {before}. Give the control an OUTPUT_DIR of its own."
            )
    if fixed := fixed_changes(changes, "course"):
        raise UserError(
            f"{path} was trained with {'; '.join(fixed)}, which cannot change within a training. Go on "
            "with these settings; or start from its weights with TRAIN.CHECKPOINT_FILE_PATH and another "
            "OUTPUT_DIR."
        )
    trained = label_names_of(contents)
    if match_classes(trained, training.label_names, source=path) is not None:
        raise UserError(
            f"{path} was trained with the classes in another order. Go on with the list of label names "
            "and labels that it was trained on; or start from its weights with "
            "TRAIN.CHECKPOINT_FILE_PATH and another OUTPUT_DIR: its head is then sorted by name."
        )
    if changed := training_changes(changes):
        logger.warning("resumed with other settings than before: %s", "; ".join(changed))
    _warn_of_environment(contents.get("ran_on", {}), training.ran_on)


def _warn_of_environment(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    names = [name for name, value in now.items() if before.get(name, value) != value]
    if names:
        logger.warning(
            "resumed with %s: the order of the videos and their views stay as they were; sums are rounded "
            "otherwise, and drop path and Mixup are drawn for every process, so it is not bit for bit the "
            "unbroken run",
            ", ".join(f"{name} {now[name]} (was {before[name]})" for name in names),
        )


def training_environment(device: torch.device) -> dict[str, str]:
    """What the figures of a training depend on, to the last bit, besides its settings."""
    return {"processes": str(dist.world_size()), "device": device.type, "torch": version("torch")}


def _position(contents: dict[str, Any], path: str, training: Training) -> Start:
    sampler, num_epochs = training.sampler, training.progress.num_epochs
    epoch, step = int(contents["epoch"]) + 1, int(contents.get("step", 0))
    if "sampler_state" in contents:
        try:
            sampler.load_state_dict(contents["sampler_state"])
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
    within = f" and {step} of {sampler.num_steps(epoch)} steps of the next" if step else ""
    logger.info("resumed from %s: %d epochs%s are done", path, epoch, within)
    if epoch >= num_epochs:
        logger.warning("nothing to train: SOLVER.MAX_EPOCH is %d", num_epochs)
    return Start(epoch=epoch, step=step, path=path, bn_synced=contents.get("is_settled", True))


def changes_since(config: Config, contents: dict[str, Any], path: str) -> list[Change]:
    """The settings that differ from those of a checkpoint; none if it does not hold ours.

    Raises UserError for weights of another model, even if their shapes fit.
    """
    before = stored_config(contents.get("cfg"))
    if before is None:
        logger.info("%s does not hold our settings: only names and shapes of its weights are checked", path)
        return []
    changes = changes_between(before, config)
    if differing := fixed_changes(changes, "model"):
        raise UserError(
            f"{path} is a checkpoint of another model: it has {'; '.join(differing)}. Use its settings; or, "
            "to start from its weights, TRAIN.CHECKPOINT_FILE_PATH and another OUTPUT_DIR."
        )
    return changes


def _set_damaged_aside(output_dir: str, newest: str) -> None:
    """Renames what lies before the newest whole checkpoint, which else would count as one that is kept."""
    dist.barrier()
    if dist.rank() == 0:
        clear_leftovers(checkpoint.folder(output_dir))
        paths = checkpoint.newest_first(output_dir)
        for path in paths[: paths.index(newest)]:
            logger.warning("%s is damaged and now called %s", path, checkpoint.set_aside(path))


def newest_whole(output_dir: str) -> tuple[str | None, dict[str, Any]]:
    """The newest checkpoint of the output folder that every rank can read, and its contents.

    Damaged ones before it are named and left out. Raises UserError if there are only damaged ones.
    """
    paths = checkpoint.newest_first(output_dir)
    if any(paths != others for others in dist.gather_objects(paths)):
        raise UserError(
            f"OUTPUT_DIR {output_dir} does not hold the same checkpoints for all processes: use a "
            "folder that all machines share."
        )
    for number, path in enumerate(paths):
        damage, contents = "", {}
        try:
            contents = checkpoint.read(path)
        except checkpoint.DamagedFile as error:
            damage = str(error)
        reports = [report for report in dist.gather_objects(damage) if report]
        if not reports:
            return path, contents
        if number + 1 == len(paths):
            raise UserError(
                f"{reports[0]} There is no whole checkpoint before it: delete it to start from the beginning."
            )
        logger.warning("%s The one before is taken instead, %s", reports[0], paths[number + 1])
    return None, {}


def save_config(output_dir: str, text: str, *, name: str) -> None:
    """Saves the settings, once nothing refuses them: a mistake must not overwrite those of an earlier run."""
    if dist.rank() == 0:
        write_file(os.path.join(output_dir, name), text.encode())
