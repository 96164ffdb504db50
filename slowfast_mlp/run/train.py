"""Training: from the newest checkpoint, or from the start, to the last epoch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from slowfast_mlp.build import lists, loaders, solver
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.engine import checkpoint, report
from slowfast_mlp.engine import distributed as dist
from slowfast_mlp.engine.failures import FailedVideos
from slowfast_mlp.engine.log import RunLog
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.progress import Progress
from slowfast_mlp.engine.train import train_one_epoch
from slowfast_mlp.engine.watchdog import Watchdog
from slowfast_mlp.run.resume import resume_or_start, write_config
from slowfast_mlp.run.test import evaluator_of
from slowfast_mlp.seeds import mix_seeds


def train(
    config: Config,
    *,
    grid: solver.Multigrid,
    log: RunLog,
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    videos: dict[str, lists.Records],
    watchdog: Watchdog,
) -> None:
    """Trains from the newest checkpoint of the output folder, or from the start."""
    num_epochs = grid.num_epochs
    loader = _train_loader(config, grid, device, videos["train"])
    sampler = loader.batch_sampler
    stage = _parts_of_training(config, grid, device)
    optimizer = solver.optimizer(config.solver, model)
    validate = None
    if "val" in videos:
        parts = dict(dataset=config.train.dataset, num_clips=1, num_crops=1, offset=True)
        parts |= dict(watchdog=watchdog, what="the validation")
        validate = evaluator_of(config, precision, device, videos["val"], **parts)
    label_names = videos["train"].label_names
    first_epoch = resume_or_start(config, model, optimizer, precision, num_epochs, label_names)
    write_config(config)
    replica = dist.replicate(model, device, sync_bn=config.model.sync_bn)
    steps = [sampler.num_steps(epoch) for epoch in range(num_epochs)]
    failed = FailedVideos(config.output_dir, max_fraction=config.data.max_failed_fraction)
    progress = Progress(log, failed, log_period=config.log_period, steps_of_epochs=steps)
    for epoch in range(first_epoch, num_epochs):
        sampler.epoch = epoch
        torch.manual_seed(mix_seeds(config.rng_seed, dist.rank(), epoch))  # drop path
        train_one_epoch(
            replica,
            watchdog.watch(loader, f"training epoch {epoch + 1}"),
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
            watchdog.note("saving the checkpoint")
            state = dict(model=model, optimizer=optimizer, precision=precision)
            _save(config, state, epoch=epoch, label_names=label_names)
        if validate and _is_due(epoch, config.train.eval_period, num_epochs):
            step = progress.steps_before(epoch + 1)
            report.validation(log, validate(model), epoch=epoch, num_epochs=num_epochs, step=step)
    if first_epoch < num_epochs:
        log.say(
            f"trained to epoch {num_epochs}; the last checkpoint is {checkpoint.newest(config.output_dir)}"
        )


def _parts_of_training(
    config: Config, grid: solver.Multigrid, device: torch.device
) -> dict[str, Callable | None]:
    """The learning rate, and what makes clips and targets of a batch, as arguments of train_one_epoch."""
    clips_per_rank = config.train.batch_size // dist.world_size() * config.aug.num_sample
    return dict(
        lr_at=solver.schedule(config.solver, grid),
        to_input=loaders.to_input(config.data, device),
        make_targets=solver.targets(config.solver, config.model.num_classes),
        mix=loaders.mix(config.mixup, clips_per_rank=clips_per_rank, seed=config.rng_seed, rank=dist.rank()),
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
    if dist.rank() == 0:
        text = dump_config(config)
        checkpoint.save(config.output_dir, epoch=epoch, config_text=text, label_names=label_names, **state)
    dist.wait_for_all()


def _is_due(epoch: int, period: int, num_epochs: int) -> bool:
    return (epoch + 1) % period == 0 or epoch + 1 == num_epochs
