"""The story of a run: train, then test. The only code that sees the whole Config."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from slowfast_mlp import build
from slowfast_mlp.config.changes import model_changes, stored_config, training_changes
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.engine import checkpoint, report
from slowfast_mlp.engine import distributed as dist
from slowfast_mlp.engine.evaluate import Evaluation, evaluate
from slowfast_mlp.engine.failures import FailedVideos
from slowfast_mlp.engine.log import RunLog
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.profile import count_flops, count_parameters
from slowfast_mlp.engine.progress import Progress
from slowfast_mlp.engine.train import train_one_epoch
from slowfast_mlp.errors import UserError
from slowfast_mlp.seeds import mix_seeds

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
    """Trains and tests as the config says, as one of the processes of the run. Raises UserError."""
    torch.backends.cudnn.deterministic = True  # a run repeats bit for bit
    with RunLog(config.output_dir, enabled=dist.rank() == 0, tensorboard=config.tensorboard.enable) as log:
        device = dist.device(config.num_gpus)
        precision = Precision(config.train.precision, device)
        torch.manual_seed(config.rng_seed)
        model = build.model(
            config.model,
            num_frames=config.data.num_frames,
            crop_size=config.data.train_crop_size,
            test_crop_size=config.data.test_crop_size,
        ).to(device)
        videos = _read_lists(config)
        for path in (config.train.checkpoint_file_path, config.test.checkpoint_file_path):
            checkpoint.demand_file(path) if path else None
        if dist.rank() == 0:
            log.say(report.block(_start_of_run(config, model, device, precision, videos)))
        parts = dict(log=log, model=model, precision=precision, device=device, videos=videos)
        if config.train.enable:
            train(config, **parts)
        if config.test.enable:
            test(config, **parts)


def run_all(configs: Sequence[Config]) -> None:
    """Runs one after the other, in the same processes."""
    for config in configs:
        run(config)


def train(
    config: Config,
    *,
    log: RunLog,
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    videos: dict[str, Sequence[Any]],
) -> None:
    """Trains from the newest checkpoint of the output folder, or from the start."""
    num_epochs = config.solver.max_epoch
    loader = build.train_loader(
        config.data,
        config.data_loader,
        videos["train"],
        batch_size=config.train.batch_size,
        rank=dist.rank(),
        world_size=dist.world_size(),
        device=device,
        num_cores=dist.cores_of_process(),
        seed=config.rng_seed,
    )
    lr_at = build.schedule(config.solver)
    make_targets = build.targets(config.solver, config.model.num_classes)
    optimizer = build.optimizer(config.solver, model)
    validate = None
    if "val" in videos:
        validate = _evaluator(config, precision, device, videos["val"], num_clips=1, num_crops=1, offset=True)
    first_epoch = _resume_or_start(config, model, optimizer, precision)
    _write_config(config)
    replica = dist.replicate(model, device, sync_bn=config.model.sync_bn)
    progress = _progress(config, log)
    for epoch in range(first_epoch, num_epochs):
        loader.sampler.epoch = epoch
        torch.manual_seed(mix_seeds(config.rng_seed, dist.rank(), epoch))  # drop path
        train_one_epoch(
            replica,
            loader,
            optimizer,
            precision,
            progress,
            epoch=epoch,
            lr_at=lr_at,
            make_targets=make_targets,
            max_norm=config.solver.clip_grad_l2norm,
            device=device,
        )
        dist.average_buffers(model)
        if _is_due(epoch, config.train.checkpoint_period, num_epochs):
            checkpoint.demand_finite(model)
            if dist.rank() == 0:
                state = dict(model=model, optimizer=optimizer, precision=precision)
                checkpoint.save(config.output_dir, epoch=epoch, config_text=dump_config(config), **state)
            dist.wait_for_all()
        if validate and _is_due(epoch, config.train.eval_period, num_epochs):
            report.validation(log, validate(model), epoch=epoch, num_epochs=num_epochs, num_steps=len(loader))
    if first_epoch < num_epochs:
        log.say(
            f"trained to epoch {num_epochs}; the last checkpoint is {checkpoint.newest(config.output_dir)}"
        )


def test(
    config: Config,
    *,
    log: RunLog,
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    videos: dict[str, Sequence[Any]],
) -> None:
    """Tests the weights of TEST.CHECKPOINT_FILE_PATH, else the newest, else TRAIN.CHECKPOINT_FILE_PATH."""
    path = config.test.checkpoint_file_path or _newest(config) or config.train.checkpoint_file_path
    if not path:
        raise UserError(
            f"There are no weights to test: {checkpoint.folder(config.output_dir)} has none. "
            "Train first, or set TEST.CHECKPOINT_FILE_PATH."
        )
    contents = checkpoint.read(path)
    _demand_same_model(config, contents, path)
    if not config.train.enable:
        _write_config(config)
    weights = build.official_weights(config.model, contents, path)
    loaded = checkpoint.load_weights(model, weights, source=path)
    logger.info("testing %s: %s", path, loaded)
    num_clips, num_crops = config.test.num_ensemble_views, config.test.num_spatial_crops
    offset = config.data.use_offset_sampling
    evaluator = _evaluator(
        config, precision, device, videos["test"], num_clips=num_clips, num_crops=num_crops, offset=offset
    )
    evaluation = evaluator(model, say=partial(report.test_progress, log, config.log_period))
    if dist.rank() == 0:
        shuffled = ", FRAMES SHUFFLED (control)" if config.data.shuffle_frames else ""
        views = f"{num_clips} x {num_crops} views, {config.test.ensemble} averaged{shuffled}"
        epoch = contents["epoch"] + 1 if isinstance(contents.get("epoch"), int) else None
        tested = {"checkpoint": path, "epoch": epoch}
        report.test(
            log, evaluation, tested=tested, paths=[video.path for video in videos["test"]], views=views
        )
    failed = 1 - evaluation.num_decoded / len(evaluation.labels)
    if failed > config.test.max_failed_fraction:
        raise UserError(
            f"{100 * failed:.1f} % of the test videos gave no view, more than TEST.MAX_FAILED_FRACTION "
            f"{config.test.max_failed_fraction}; they are counted as wrong and listed in "
            f"{os.path.join(config.output_dir, report.FAILED_VIDEOS)}."
        )


def _read_lists(config: Config) -> dict[str, Sequence[Any]]:
    """The records of every split that the run will need, so that a wrong one shows at once."""
    splits = {}
    if config.train.enable:
        splits["train"] = config.train.dataset
        if config.train.eval_period:
            splits["val"] = config.train.dataset
    if config.test.enable:
        splits["test"] = config.test.dataset or config.train.dataset
    if not splits:
        raise UserError("TRAIN.ENABLE and TEST.ENABLE are both False: there is nothing to do.")
    return {
        split: build.records(config.data, dataset, split, num_classes=config.model.num_classes)
        for split, dataset in splits.items()
    }


def _evaluator(
    config: Config,
    precision: Precision,
    device: torch.device,
    videos: Sequence[Any],
    *,
    num_clips: int,
    num_crops: int,
    offset: bool,
) -> Callable[..., Evaluation]:
    """A function from a model to its Evaluation over the videos in these views."""
    loader = build.eval_loader(
        config.data,
        config.data_loader,
        videos,
        num_clips=num_clips,
        num_crops=num_crops,
        offset=offset,
        batch_size=config.test.batch_size,
        rank=dist.rank(),
        world_size=dist.world_size(),
        device=device,
        num_cores=dist.cores_of_process(),
        seed=config.rng_seed,
    )
    return partial(
        evaluate,
        loader=loader,
        precision=precision,
        labels=torch.tensor([video.label for video in videos]),
        num_classes=config.model.num_classes,
        views_per_video=num_clips * num_crops,
        ensemble=config.test.ensemble,
        batch_size=config.test.batch_size,
        device=device,
    )


def _progress(config: Config, log: RunLog) -> Progress:
    """The lines of the training, and what it could not decode."""
    failed = FailedVideos(config.output_dir, max_fraction=config.data.max_failed_fraction)
    return Progress(log, failed, log_period=config.log_period, num_epochs=config.solver.max_epoch)


def _write_config(config: Config) -> None:
    """Saves the config, once nothing refuses it: a mistake must not write over what an earlier run left."""
    if dist.rank() == 0:
        path = os.path.join(config.output_dir, "config.yaml")
        checkpoint.write_atomically(path, lambda file: file.write(dump_config(config).encode()))


def _newest(config: Config) -> str | None:
    """The newest checkpoint of the output folder, which every rank must see."""
    newest = checkpoint.newest(config.output_dir)
    if set(dist.gather_objects(newest)) != {newest}:
        raise UserError(
            f"OUTPUT_DIR {config.output_dir} does not hold the same checkpoints for all processes: use a "
            "folder that all machines share."
        )
    return newest


def _demand_same_model(config: Config, contents: dict[str, Any], path: str) -> Config | None:
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


def _resume_or_start(
    config: Config, model: nn.Module, optimizer: torch.optim.Optimizer, precision: Precision
) -> int:
    """Takes up the newest checkpoint, or the weights to start from; returns the first epoch to train."""
    newest = _newest(config)
    if newest and not config.train.auto_resume:
        raise UserError(
            f"OUTPUT_DIR {config.output_dir} holds checkpoints of an earlier run, and TRAIN.AUTO_RESUME is "
            "False. Choose another OUTPUT_DIR, or resume."
        )
    if newest:
        contents = checkpoint.read(newest)
        before = _demand_same_model(config, contents, newest)
        if before and before.data.shuffle_frames != config.data.shuffle_frames:
            raise UserError(
                f"{newest} was trained with DATA.SHUFFLE_FRAMES {before.data.shuffle_frames}. Give the "
                "control an OUTPUT_DIR of its own."
            )
        epoch = checkpoint.resume(contents, newest, model=model, optimizer=optimizer, precision=precision)
        logger.info("resumed from %s: %d epochs are done", newest, epoch)
        if epoch >= config.solver.max_epoch:
            logger.warning("nothing to train: SOLVER.MAX_EPOCH is %d", config.solver.max_epoch)
        if before and (changed := training_changes(before, config)):
            logger.warning("resumed with other settings than before: %s", ", ".join(changed))
        return epoch
    if config.train.checkpoint_file_path:
        build.start_weights(config.model, model, config.train.checkpoint_file_path)
    return 0


def _start_of_run(
    config: Config,
    model: nn.Module,
    device: torch.device,
    precision: Precision,
    videos: dict[str, Sequence[Any]],
) -> dict[str, str]:
    """What a person wants to know before hours are spent."""
    data, solver, crop_size = config.data, config.solver, config.data.train_crop_size
    flops = count_flops(model, (3, data.num_frames, crop_size, crop_size)) / 1e9
    num_views = config.test.num_ensemble_views * config.test.num_spatial_crops
    sizes = ", ".join(f"{len(records)} {split}" for split, records in videos.items())
    order = ", FRAMES SHUFFLED (control)" if data.shuffle_frames else ""
    facts = {
        "device": f"{report.device_in_words(device)}, {precision.mode}, processes: {dist.world_size()}",
        "data": f"{config.train.dataset}: {sizes} videos; clips of {data.num_frames} frames at rate "
        f"{data.sampling_rate}, {crop_size} pixels{order}",
        "model": f"{config.model.name} {config.model.variant}: {count_parameters(model) / 1e6:.2f} M "
        f"parameters, {flops:.3g} GFLOPs a view, {flops * num_views:.4g} over "
        f"{config.test.num_ensemble_views} x {config.test.num_spatial_crops} views",
    }
    if config.train.enable:
        num_steps = len(videos["train"]) // config.train.batch_size
        facts["batch"] = (
            f"{config.train.batch_size} videos over all processes, {num_steps} steps an epoch, "
            f"{solver.max_epoch} epochs, {num_steps * solver.max_epoch} steps"
        )
        left_out = len(videos["train"]) % config.train.batch_size
        facts["batch"] += f"; {left_out} videos, others every epoch, are left over" if left_out else ""
        warmup = f"{solver.warmup_start_lr:g} to {solver.base_lr:g} in {solver.warmup_epochs:g} epochs"
        warmup = warmup if solver.warmup_epochs else f"{solver.base_lr:g}"
        facts["lr"] = f"{warmup}, then a cosine to {solver.cosine_end_lr:g}"
    return {**facts, "output": config.output_dir}


def _is_due(epoch: int, period: int, num_epochs: int) -> bool:
    return (epoch + 1) % period == 0 or epoch + 1 == num_epochs
