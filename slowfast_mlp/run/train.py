"""Training: from the newest checkpoint, or from the start, to the last epoch."""

import os
from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from slowfast_mlp.build import lists, loaders, solver
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.engine import checkpoint, report
from slowfast_mlp.engine import distributed as dist
from slowfast_mlp.engine.batch_norm import recompute_statistics
from slowfast_mlp.engine.compile import compile_replica
from slowfast_mlp.engine.failures import FailedVideos
from slowfast_mlp.engine.log import RunLog
from slowfast_mlp.engine.nonfinite import SkippedSteps
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.prefetch import on_device
from slowfast_mlp.engine.progress import Progress
from slowfast_mlp.engine.train import train_one_epoch
from slowfast_mlp.run.resume import resume_or_start, write_config
from slowfast_mlp.run.test import evaluator_of
from slowfast_mlp.seeds import mix_seeds

WEIGHTS_BEFORE = "weights_before_skipped_steps.pyth"


def train(
    config: Config,
    *,
    grid: solver.Multigrid,
    log: RunLog,
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    videos: dict[str, lists.Records],
) -> None:
    """Trains from the newest checkpoint of the output folder, or from the start."""
    num_epochs = grid.num_epochs
    loader = _train_loader(config, grid, device, videos["train"])
    sampler = loader.batch_sampler
    stage = _parts_of_training(config, grid, device)
    num_precise = solver.precise_batches(config.bn, model, name=config.model.name)
    optimizer = solver.optimizer(config.solver, model, shard=config.train.shard_optimizer)
    ema = solver.ema(config.train, model)
    validate = None
    if "val" in videos:
        parts = dict(dataset=config.train.dataset, num_clips=1, num_crops=1, offset=True)
        validate = evaluator_of(config, precision, device, videos["val"], **parts)
    label_names = videos["train"].label_names
    first_epoch = resume_or_start(config, model, optimizer, precision, num_epochs, label_names, ema)
    write_config(config)
    replica = dist.replicate(model, device, sync_bn=config.model.sync_bn)
    replica = compile_replica(replica, model, device) if config.train.compile else replica
    steps = [sampler.num_steps(epoch) for epoch in range(num_epochs)]
    failed = FailedVideos(config.output_dir, max_fraction=config.data.max_failed_fraction)
    progress = Progress(log, failed, log_period=config.log_period, steps_of_epochs=steps)
    skipped_steps = _skipped_steps(config, model, videos["train"], device)
    nets = [model, ema.model] if ema else [model]  # what is judged is the last
    for epoch in range(first_epoch, num_epochs):
        sampler.epoch = epoch
        torch.manual_seed(mix_seeds(config.rng_seed, dist.rank(), epoch))  # drop path
        parts = (loader, optimizer, precision, progress, skipped_steps)
        after_step = ema.update if ema else _nothing
        train_one_epoch(
            replica, *parts, epoch=epoch, share_done=sampler.share_done, after_step=after_step, **stage
        )
        saves = _is_due(epoch, config.train.checkpoint_period, num_epochs)
        validates = validate and _is_due(epoch, config.train.eval_period, num_epochs)
        for net in nets:
            dist.average_buffers(net)
            if num_precise and (saves or validates):
                views = islice(on_device(loader, device), num_precise)
                recompute_statistics(net, map(stage["to_input"], views), precision)
        if saves:
            state = dict(model=model, optimizer=optimizer, precision=precision, ema=ema)
            _save(config, state, epoch=epoch, label_names=label_names)
        if validates:
            step = progress.steps_before(epoch + 1)
            report.validation(log, validate(nets[-1]), epoch=epoch, num_epochs=num_epochs, step=step)
    if first_epoch < num_epochs:
        log.say(
            f"trained to epoch {num_epochs}; the last checkpoint is {checkpoint.newest(config.output_dir)}"
        )


def _nothing() -> None:
    """What follows a step where nothing does."""


def _parts_of_training(config: Config, grid: solver.Multigrid, device: torch.device) -> dict[str, Any]:
    """The learning rate, what makes clips and targets of a batch, and what a step does with it, as arguments
    of train_one_epoch.
    """
    clips_per_rank = config.train.batch_size // dist.world_size() * config.aug.num_sample
    return dict(
        lr_at=solver.schedule(config.solver, grid),
        to_input=loaders.to_input(config.data, device),
        make_targets=solver.targets(config.solver, config.model.num_classes),
        mix=loaders.mix(config.mixup, clips_per_rank=clips_per_rank, seed=config.rng_seed, rank=dist.rank()),
        num_parts=solver.num_parts(config.train, smallest_batch=clips_per_rank),
        max_norm=config.solver.clip_grad_l2norm,
        device=device,
    )


def _skipped_steps(
    config: Config, model: nn.Module, videos: lists.Records, device: torch.device
) -> SkippedSteps:
    """What takes note of skipped steps, and keeps the weights before them when there are too many."""
    path = os.path.join(config.output_dir, WEIGHTS_BEFORE)

    def keep_weights() -> str:
        if dist.rank() == 0:
            parts = dict(model=model, config_text=dump_config(config), label_names=videos.label_names)
            checkpoint.save_weights(path, **parts)
        dist.wait_for_all()
        return path

    return SkippedSteps(
        config.output_dir,
        max_in_a_row=config.solver.max_nonfinite_steps,
        seed=config.rng_seed,
        path_of=lambda record: videos[record].path,
        keep_weights=keep_weights,
        device=device,
    )


def _train_loader(
    config: Config, grid: solver.Multigrid, device: torch.device, videos: lists.Records
) -> DataLoader:
    """This rank's batches of training; their sampler knows the steps."""
    sampler = loaders.train_sampler(
        config.train,
        videos,
        grid,
        num_classes=config.model.num_classes,
        rank=dist.rank(),
        world_size=dist.world_size(),
        seed=config.rng_seed,
    )
    return loaders.train_loader(
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


def _save(config: Config, state: dict[str, Any], *, epoch: int, label_names: Sequence[str]) -> None:
    """Writes the checkpoint of a finished epoch, once for all ranks."""
    checkpoint.demand_finite(state["model"])
    dist.gather_optimizer_state(state["optimizer"])
    if dist.rank() == 0:
        text = dump_config(config)
        checkpoint.save(config.output_dir, epoch=epoch, config_text=text, label_names=label_names, **state)
    dist.wait_for_all()


def _is_due(epoch: int, period: int, num_epochs: int) -> bool:
    return (epoch + 1) % period == 0 or epoch + 1 == num_epochs
