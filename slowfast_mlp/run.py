"""The story of a run: train, then test. The only code that sees the whole Config."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from slowfast_mlp import build
from slowfast_mlp.config.changes import model_changes, stored_config, training_changes
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.engine import checkpoint, report
from slowfast_mlp.engine import distributed as dist
from slowfast_mlp.engine.class_names import match_classes
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
        grid = build.multigrid(
            config.multigrid,
            config.data,
            model,
            name=config.model.name,
            max_epoch=config.solver.max_epoch,
        )
        videos = _read_lists(config)
        for path in (config.train.checkpoint_file_path, config.test.checkpoint_file_path):
            checkpoint.demand_file(path) if path else None
        if dist.rank() == 0:
            log.say(report.block(_start_of_run(config, model, grid, device, precision, videos)))
        parts = dict(log=log, model=model, precision=precision, device=device, videos=videos)
        if config.train.enable:
            train(config, grid=grid, **parts)
        if config.test.enable:
            test(config, **parts)


def run_all(configs: Sequence[Config]) -> None:
    """Runs one after the other, in the same processes."""
    for config in configs:
        run(config)


def train(
    config: Config,
    *,
    grid: build.Multigrid,
    log: RunLog,
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    videos: dict[str, build.Records],
) -> None:
    """Trains from the newest checkpoint of the output folder, or from the start."""
    num_epochs = grid.num_epochs
    loader = _train_loader(config, grid, device, videos["train"])
    sampler = loader.batch_sampler
    stage = _parts_of_training(config, grid, device)
    optimizer = build.optimizer(config.solver, model)
    validate = None
    if "val" in videos:
        parts = dict(dataset=config.train.dataset, num_clips=1, num_crops=1, offset=True)
        validate = _evaluator(config, precision, device, videos["val"], **parts)
    label_names = videos["train"].label_names
    first_epoch = _resume_or_start(config, model, optimizer, precision, num_epochs, label_names)
    _write_config(config)
    replica = dist.replicate(model, device, sync_bn=config.model.sync_bn)
    steps = [sampler.num_steps(epoch) for epoch in range(num_epochs)]
    failed = FailedVideos(config.output_dir, max_fraction=config.data.max_failed_fraction)
    progress = Progress(log, failed, log_period=config.log_period, steps_of_epochs=steps)
    for epoch in range(first_epoch, num_epochs):
        sampler.epoch = epoch
        torch.manual_seed(mix_seeds(config.rng_seed, dist.rank(), epoch))  # drop path
        train_one_epoch(
            replica,
            loader,
            optimizer,
            precision,
            progress,
            epoch=epoch,
            share_done=sampler.share_done,
            **stage,
            max_norm=config.solver.clip_grad_l2norm,
            device=device,
        )
        dist.average_buffers(model)
        if _is_due(epoch, config.train.checkpoint_period, num_epochs):
            state = dict(model=model, optimizer=optimizer, precision=precision)
            _save(config, state, epoch=epoch, label_names=label_names)
        if validate and _is_due(epoch, config.train.eval_period, num_epochs):
            step = progress.steps_before(epoch + 1)
            report.validation(log, validate(model), epoch=epoch, num_epochs=num_epochs, step=step)
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
    videos: dict[str, build.Records],
) -> None:
    """Tests the weights of TEST.CHECKPOINT_FILE_PATH, else the newest, else TRAIN.CHECKPOINT_FILE_PATH."""
    path = config.test.checkpoint_file_path or _newest(config) or config.train.checkpoint_file_path
    if not path:
        raise UserError(
            f"There are no weights to test: {checkpoint.folder(config.output_dir)} has none. "
            "Train first, or set TEST.CHECKPOINT_FILE_PATH."
        )
    contents = checkpoint.read(path)
    _say_other_colours(_demand_same_model(config, contents, path), config, path)
    if not config.train.enable:
        _write_config(config)
    weights = build.official_weights(config.model, contents, path)
    loaded = checkpoint.load_weights(model, weights, source=path)
    logger.info("testing %s: %s", path, loaded)
    label_names = videos["test"].label_names
    order = match_classes(checkpoint.label_names_of(contents), label_names, source=path)
    evaluator = _evaluator(
        config,
        precision,
        device,
        videos["test"],
        dataset=_test_dataset(config),
        num_clips=config.test.num_ensemble_views,
        num_crops=config.test.num_spatial_crops,
        offset=config.data.use_offset_sampling,
    )
    evaluation = evaluator(
        model, class_order=order, say=partial(report.test_progress, log, config.log_period)
    )
    if dist.rank() == 0:
        epoch = contents["epoch"] + 1 if isinstance(contents.get("epoch"), int) else None
        tested = {"checkpoint": path, "epoch": epoch, "list_sha256": videos["test"].fingerprint()}
        report.test(
            log,
            evaluation,
            tested=tested,
            paths=[video.path for video in videos["test"]],
            views=_protocol(config),
            label_names=label_names,
        )
    failed = 1 - evaluation.num_decoded / len(evaluation.labels)
    if failed > config.test.max_failed_fraction:
        raise UserError(
            f"{100 * failed:.1f} % of the test videos gave no view, more than TEST.MAX_FAILED_FRACTION "
            f"{config.test.max_failed_fraction}; they are counted as wrong and listed in "
            f"{os.path.join(config.output_dir, report.FAILED_VIDEOS)}."
        )


def _parts_of_training(
    config: Config, grid: build.Multigrid, device: torch.device
) -> dict[str, Callable | None]:
    """The learning rate, and what makes clips and targets of a batch, as arguments of train_one_epoch."""
    clips_per_rank = config.train.batch_size // dist.world_size() * config.aug.num_sample
    return dict(
        lr_at=build.schedule(config.solver, grid),
        to_input=build.to_input(config.data, device),
        make_targets=build.targets(config.solver, config.model.num_classes),
        mix=build.mix(config.mixup, clips_per_rank=clips_per_rank, seed=config.rng_seed, rank=dist.rank()),
    )


def splits_to_read(config: Config) -> dict[str, str]:
    """The splits that the run will need, with the data set of each. Raises UserError when it needs none."""
    splits = {}
    if config.train.enable:
        splits["train"] = config.train.dataset
        if config.train.eval_period:
            splits["val"] = config.train.dataset
    if config.test.enable:
        splits["test"] = _test_dataset(config)
    if not splits:
        raise UserError("TRAIN.ENABLE and TEST.ENABLE are both False: there is nothing to do.")
    return splits


def _read_lists(config: Config) -> dict[str, build.Records]:
    """The records of every split that the run will need, so that a wrong one shows at once."""
    return {
        split: build.records(config.data, dataset, split, num_classes=config.model.num_classes)
        for split, dataset in splits_to_read(config).items()
    }


def _save(config: Config, state: dict[str, Any], *, epoch: int, label_names: Sequence[str]) -> None:
    """Writes the checkpoint of a finished epoch, once for all ranks."""
    checkpoint.demand_finite(state["model"])
    if dist.rank() == 0:
        text = dump_config(config)
        checkpoint.save(config.output_dir, epoch=epoch, config_text=text, label_names=label_names, **state)
    dist.wait_for_all()


def _test_dataset(config: Config) -> str:
    return config.test.dataset or config.train.dataset


def _say_other_colours(before: Config | None, config: Config, path: str) -> None:
    if before and before.data.channel_order != config.data.channel_order:
        logger.warning(
            "%s was trained with DATA.CHANNEL_ORDER %s, and is tested with %s",
            path, before.data.channel_order, config.data.channel_order,
        )  # fmt: skip


def _protocol(config: Config) -> str:
    """How the test was made, in a line: what a figure depends on beside the weights."""
    num_clips, num_crops = config.test.num_ensemble_views, config.test.num_spatial_crops
    crop = f" ({config.test.single_crop} crop)" if num_crops == 1 else ""
    colours = ", BGR" if config.data.channel_order == "BGR" else ""
    shuffled = ", FRAMES SHUFFLED (control)" if config.data.shuffle_frames else ""
    return (
        f"{num_clips} x {num_crops} views{crop}, {config.test.ensemble} averaged, "
        f"{build.sampling(config.data, _test_dataset(config))} sampling{colours}{shuffled}"
    )


def _train_loader(
    config: Config, grid: build.Multigrid, device: torch.device, videos: build.Records
) -> DataLoader:
    """This rank's batches of training; their sampler knows the steps."""
    sampler = build.train_sampler(
        config.train,
        videos,
        grid,
        num_classes=config.model.num_classes,
        rank=dist.rank(),
        world_size=dist.world_size(),
        seed=config.rng_seed,
    )
    return build.train_loader(
        config.data,
        config.aug,
        config.data_loader,
        videos,
        sampler,
        dataset=config.train.dataset,
        device=device,
        num_cores=dist.cores_of_process(),
        seed=config.rng_seed,
    )


def _evaluator(
    config: Config,
    precision: Precision,
    device: torch.device,
    videos: build.Records,
    *,
    dataset: str,
    num_clips: int,
    num_crops: int,
    offset: bool,
) -> Callable[..., Evaluation]:
    """A function from a model to its Evaluation over the videos in these views."""
    loader = build.eval_loader(
        config.data,
        config.data_loader,
        videos,
        dataset=dataset,
        num_clips=num_clips,
        num_crops=num_crops,
        single_crop=config.test.single_crop,
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
        labels=videos.labels,
        num_classes=config.model.num_classes,
        views_per_video=num_clips * num_crops,
        ensemble=config.test.ensemble,
        batch_size=config.test.batch_size,
        to_input=build.to_input(config.data, device),
        device=device,
    )


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
    config: Config,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    precision: Precision,
    num_epochs: int,
    label_names: Sequence[str],
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
        trained = checkpoint.label_names_of(contents)
        if match_classes(trained, label_names, source=newest) is not None:
            raise UserError(
                f"{newest} was trained with the classes in another order. Go on with the list of label names "
                "and labels that it was trained on; or start from its weights with "
                "TRAIN.CHECKPOINT_FILE_PATH and another OUTPUT_DIR: its head is then sorted by name."
            )
        epoch = checkpoint.resume(contents, newest, model=model, optimizer=optimizer, precision=precision)
        logger.info("resumed from %s: %d epochs are done", newest, epoch)
        if epoch >= num_epochs:
            logger.warning("nothing to train: SOLVER.MAX_EPOCH is %d", config.solver.max_epoch)
        if before and (changed := training_changes(before, config)):
            logger.warning("resumed with other settings than before: %s", ", ".join(changed))
        return epoch
    if config.train.checkpoint_file_path:
        path = config.train.checkpoint_file_path
        build.start_weights(config.model, model, path, label_names=label_names)
    return 0


def _start_of_run(
    config: Config,
    model: nn.Module,
    grid: build.Multigrid,
    device: torch.device,
    precision: Precision,
    videos: dict[str, build.Records],
) -> dict[str, str]:
    """What a person wants to know before hours are spent."""
    data, crop_size = config.data, config.data.test_crop_size
    flops = count_flops(model, (3, data.num_frames, crop_size, crop_size)) / 1e9
    num_views = config.test.num_ensemble_views * config.test.num_spatial_crops
    sizes = ", ".join(f"{len(records)} {split}" for split, records in videos.items())
    order = ", BGR" if data.channel_order == "BGR" else ""
    order += ", FRAMES SHUFFLED (control)" if data.shuffle_frames else ""
    rate = f"at rate {data.sampling_rate}"
    rate = rate if build.sampling(data, config.train.dataset) == "dense" else "from as many segments"
    prints = [f"{records.fingerprint()[:12]} {split}" for split, records in videos.items()]
    num_named = {len(records.label_names) for records in videos.values()}
    names = f"; {max(num_named)} classes with names" if max(num_named) else "; classes without names"
    pixels = f"{data.train_crop_size} pixels" + (
        f", tested with {crop_size}" if crop_size != data.train_crop_size else ""
    )
    facts = {
        "device": f"{report.device_in_words(device)}, {precision.mode}, processes: {dist.world_size()}",
        "data": f"{config.train.dataset}: {sizes} videos; clips of {data.num_frames} frames {rate}, "
        f"{pixels}{order}",
        "lists": f"sha256 {', '.join(prints)}{names}",
        "model": f"{config.model.name} {config.model.variant}: {count_parameters(model) / 1e6:.2f} M "
        f"parameters, {flops:.3g} GFLOPs a view, {flops * num_views:.4g} over "
        f"{config.test.num_ensemble_views} x {config.test.num_spatial_crops} views",
    }
    if config.train.enable:
        facts |= _course_of_training(config, grid, len(videos["train"]))
    return {**facts, "output": config.output_dir}


def _course_of_training(config: Config, grid: build.Multigrid, num_videos: int) -> dict[str, str]:
    """Augmentation, batches, steps and learning rate of the training."""
    solver, batch_size, num_samples = config.solver, config.train.batch_size, config.aug.num_sample
    steps = grid.steps_of_epochs(num_videos, batch_size)
    a_number = " to ".join(map(str, sorted({min(steps), max(steps)})))
    flip = ", flip" if config.data.random_flip else ""
    facts = {
        "augment": f"random crop{flip}{build.augmentation_in_words(config.aug, config.mixup)}",
        "batch": f"{batch_size} videos x {num_samples} views = {batch_size * num_samples} clips over all "
        f"processes, {a_number} steps an epoch, {len(steps)} epochs, {sum(steps)} steps",
    }
    left_out = grid.most_left_out(num_videos, batch_size)
    facts["batch"] += f"; {left_out} videos, others every epoch, are left over" if left_out else ""
    facts["batch"] += "; every class equally often" if config.train.sampler == "balanced" else ""
    warmup = f"{solver.warmup_start_lr:g} to {solver.base_lr:g} in {solver.warmup_epochs:g} epochs"
    warmup = warmup if solver.warmup_epochs else f"{solver.base_lr:g}"
    facts["lr"] = f"{warmup}, then a cosine to {solver.cosine_end_lr:g}"
    if grid.has_cycle:
        facts["lr"] += "; times the last batch of the phase over B"
        facts["multigrid"] = f"B = {batch_size}; steps in turn: {grid.in_words()}"
    return facts


def _is_due(epoch: int, period: int, num_epochs: int) -> bool:
    return (epoch + 1) % period == 0 or epoch + 1 == num_epochs
