"""What of an earlier run is taken up, and what is refused."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from slowfast_mlp.atomic_file import clear_leftovers, write_file
from slowfast_mlp.builders import model
from slowfast_mlp.builders.loaders import TrainSampler
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.class_names import match_classes
from slowfast_mlp.checkpoint.weights import EMA_KEY, label_names_of
from slowfast_mlp.config.diff import course_changes, model_changes, stored_config, training_changes
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.engine.ema import Ema
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where training begins: after `epoch` whole epochs and `step` steps of the next, `steps_done` in all.

    `path` is the checkpoint that it goes on from, None at the start; `rank_states` are those of its ranks.
    Unless `is_settled` the running statistics of the last whole epoch are still to be computed.
    """

    epoch: int = 0
    step: int = 0
    steps_done: int | None = None
    path: str | None = None
    rank_states: Sequence[dict[str, Any]] = ()
    is_settled: bool = True


def resume_or_start(
    config: Config,
    parts: Mapping[str, checkpoint.Stateful],
    sampler: TrainSampler,
    num_epochs: int,
    label_names: Sequence[str],
) -> Start:
    """Takes up the newest whole checkpoint, or the weights to start from."""
    newest, contents = newest_whole(config)
    if newest and not config.train.auto_resume:
        raise UserError(
            f"OUTPUT_DIR {config.output_dir} holds checkpoints of an earlier run, and TRAIN.AUTO_RESUME is "
            "False. Choose another OUTPUT_DIR, or resume."
        )
    if newest:
        _demand_same_course(config, contents, newest, label_names)
        checkpoint.resume(contents, newest, parts)
        _resume_average(parts.get("ema"), contents, newest)
        _set_damaged_aside(config, newest)
        return _position(config, contents, newest, sampler, num_epochs)
    if config.train.checkpoint_file_path:
        path = config.train.checkpoint_file_path
        model.start_weights(config.model, parts["model"], path, label_names=label_names)
        if "ema" in parts:
            parts["ema"].restart()
    return Start()


def _resume_average(ema: Ema | None, contents: dict[str, Any], path: str) -> None:
    """Lets an average that the checkpoint does not have begin with its weights; says if one is dropped."""
    if ema and EMA_KEY not in contents:
        ema.restart()
    elif not ema and EMA_KEY in contents:
        logger.warning("the averaged weights of %s are dropped, as TRAIN.EMA_DECAY is 0", path)


def _demand_same_course(
    config: Config, contents: dict[str, Any], path: str, label_names: Sequence[str]
) -> None:
    """Refuses to go on with what would make another training of it; says what else has changed."""
    before = demand_same_model(config, contents, path)
    if before and before.data.shuffle_frames != config.data.shuffle_frames:
        raise UserError(
            f"{path} was trained with DATA.SHUFFLE_FRAMES {before.data.shuffle_frames}. Give the "
            "control an OUTPUT_DIR of its own."
        )
    if before and (differing := course_changes(before, config)):
        raise UserError(
            f"{path} was trained with {'; '.join(differing)}, which cannot change within a training. Go on "
            "with these settings; or start from its weights with TRAIN.CHECKPOINT_FILE_PATH and another "
            "OUTPUT_DIR."
        )
    trained = label_names_of(contents)
    if match_classes(trained, label_names, source=path) is not None:
        raise UserError(
            f"{path} was trained with the classes in another order. Go on with the list of label names "
            "and labels that it was trained on; or start from its weights with "
            "TRAIN.CHECKPOINT_FILE_PATH and another OUTPUT_DIR: its head is then sorted by name."
        )
    if before and (changed := training_changes(before, config)):
        logger.warning("resumed with other settings than before: %s", "; ".join(changed))
    ran_on = contents.get("ran_on", {})
    now = circumstances(config)
    if changed := [f"{what} {value} (was {ran_on[what]})" for what, value in now.items()
                   if ran_on.get(what, value) != value]:  # fmt: skip
        logger.warning(
            "resumed with %s: the order of the videos and their views stay as they were; sums are rounded "
            "otherwise, and drop path and Mixup are drawn for every process, so it is not bit for bit the "
            "unbroken run",
            ", ".join(changed),
        )


def circumstances(config: Config) -> dict[str, str]:
    """What a training's figures depend on, to the last bit, beside its settings."""
    return {
        "processes": str(dist.world_size()),
        "device": dist.device(config.num_gpus).type,
        "torch": version("torch"),
    }


def _position(
    config: Config, contents: dict[str, Any], path: str, sampler: TrainSampler, num_epochs: int
) -> Start:
    epoch, step = int(contents["epoch"]) + 1, int(contents.get("step", 0))
    if "sampler_state" in contents:
        try:
            sampler.load_state_dict(contents["sampler_state"])
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
    within = f" and {step} of {sampler.num_steps(epoch)} steps of the next" if step else ""
    logger.info("resumed from %s: %d epochs%s are done", path, epoch, within)
    if epoch >= num_epochs:
        logger.warning("nothing to train: SOLVER.MAX_EPOCH is %d", config.solver.max_epoch)
    return Start(
        epoch=epoch,
        step=step,
        steps_done=contents.get("steps_done"),
        path=path,
        rank_states=contents.get("rank_states", ()),
        is_settled=contents.get("is_settled", True),
    )


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


def _set_damaged_aside(config: Config, newest: str) -> None:
    """Renames what lies before the newest whole checkpoint, which else would count as one that is kept."""
    dist.barrier()
    if dist.rank() == 0:
        clear_leftovers(checkpoint.folder(config.output_dir))
        paths = checkpoint.newest_first(config.output_dir)
        for path in paths[: paths.index(newest)]:
            logger.warning("%s is damaged and now called %s", path, checkpoint.set_aside(path))


def newest_whole(config: Config) -> tuple[str | None, dict[str, Any]]:
    """The newest checkpoint of the output folder that every rank can read, and its contents.

    Damaged ones before it are named and left out. Raises UserError if there are only damaged ones.
    """
    paths = checkpoint.newest_first(config.output_dir)
    if any(paths != others for others in dist.gather_objects(paths)):
        raise UserError(
            f"OUTPUT_DIR {config.output_dir} does not hold the same checkpoints for all processes: use a "
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


def write_config(config: Config, *, name: str) -> None:
    """Saves the config, once nothing refuses it: a mistake must not write over what an earlier run left."""
    if dist.rank() == 0:
        path = os.path.join(config.output_dir, name)
        write_file(path, dump_config(config).encode())
