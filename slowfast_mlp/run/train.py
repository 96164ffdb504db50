"""Training: from the newest checkpoint, or from the start, to the last epoch."""

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import DataLoader

from slowfast_mlp.build import lists, loaders, solver
from slowfast_mlp.build.loaders import TrainSampler
from slowfast_mlp.config.schema import Config
from slowfast_mlp.engine import checkpoint, report
from slowfast_mlp.engine import distributed as dist
from slowfast_mlp.engine.failures import FailedVideos
from slowfast_mlp.engine.log import RunLog, validation_after
from slowfast_mlp.engine.metrics import BestValidation
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.progress import Progress
from slowfast_mlp.engine.rank_state import RankState
from slowfast_mlp.engine.signals import StopSignals
from slowfast_mlp.engine.train import train_one_epoch
from slowfast_mlp.engine.watchdog import Watchdog
from slowfast_mlp.run.keep import Keeper
from slowfast_mlp.run.resume import Start, resume_or_start, write_config
from slowfast_mlp.run.test import evaluator_of


def train(
    config: Config,
    *,
    grid: solver.Multigrid,
    log: RunLog,
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    videos: dict[str, lists.Records],
    stop: StopSignals,
    watchdog: Watchdog,
) -> None:
    """Trains from the newest checkpoint of the output folder, or from the start. Raises Stopped."""
    num_epochs, label_names = grid.num_epochs, videos["train"].label_names
    loader = _train_loader(config, grid, device, videos["train"])
    sampler = loader.batch_sampler
    stage = _parts_of_training(config, grid, device)
    optimizer, best = solver.optimizer(config.solver, model), BestValidation()
    parts = dict(model=model, optimizer=optimizer, precision=precision, best=best)
    start = resume_or_start(config, parts, sampler, num_epochs, label_names)
    write_config(config, name="config.yaml")
    failed = FailedVideos(config.output_dir, max_fraction=config.data.max_failed_fraction)
    progress = _progress_from(start, config, log, failed, sampler, num_epochs)
    own = RankState(model, progress, failed)
    own.load(start.rank_states, rank=dist.rank(), world_size=dist.world_size())
    replica = dist.replicate(model, device, sync_bn=config.model.sync_bn)
    keeper = Keeper(
        config, parts, own, sampler=sampler, progress=progress, stop=stop, label_names=label_names
    )
    validate = _validation(config, log, model, precision, device, videos, progress, best, keeper, watchdog)
    with stop.deferred():
        if start.step == 0:
            keeper.take_up(start.path)
            validate(start.epoch - 1, known=_validated(config, start))
        for epoch in range(start.epoch, num_epochs):
            sampler.epoch = epoch
            train_one_epoch(
                replica,
                watchdog.watch(loader, f"training epoch {epoch + 1}", first_step=sampler.first_step),
                optimizer,
                precision,
                progress,
                epoch=epoch,
                share_done=sampler.share_done,
                **stage,
                max_norm=config.solver.clip_grad_l2norm,
                device=device,
                seed=config.rng_seed,
                first_step=sampler.first_step,
                end_step=keeper.end_step,
            )
            dist.average_buffers(model)
            watchdog.note("saving the checkpoint")
            keeper.end_epoch(epoch)
            validate(epoch)
        keeper.finish()
    if start.epoch < num_epochs:
        log.say(
            f"trained to epoch {num_epochs}; the last checkpoint is {checkpoint.newest(config.output_dir)}"
        )


def _progress_from(
    start: Start, config: Config, log: RunLog, failed: FailedVideos, sampler: TrainSampler, num_epochs: int
) -> Progress:
    """The times of the run, and its log as it was when training stood at `start`."""
    steps = [sampler.num_steps(epoch) for epoch in range(num_epochs)]
    counted = sum(steps[: start.epoch]) + start.step
    done = counted if start.steps_done is None else start.steps_done
    log.rewind(step=done, epoch=start.epoch)
    return Progress(log, failed, log_period=config.log_period, steps_of_epochs=steps, shift=done - counted)


def _validation(
    config: Config,
    log: RunLog,
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    videos: dict[str, lists.Records],
    progress: Progress,
    best: BestValidation,
    keeper: Keeper,
    watchdog: Watchdog,
) -> Callable[..., None]:
    """A function that validates after an epoch index, if that is due, and keeps what is best; where `known`
    is the accuracy, it is not measured again.
    """
    if "val" not in videos:
        return lambda epoch, known=None: None
    views = dict(dataset=config.train.dataset, num_clips=1, num_crops=1, offset=True)
    views |= dict(watchdog=watchdog, what="the validation")
    evaluator = evaluator_of(config, precision, device, videos["val"], **views)

    def validate(epoch: int, *, known: float | None = None) -> None:
        if epoch < 0 or not _is_due(epoch, config.train.eval_period, progress.num_epochs):
            return
        if known is None:
            evaluation, step = evaluator(model), progress.steps_before(epoch + 1)
            known = evaluation.accuracy(1)
            report.validation(log, evaluation, epoch=epoch, num_epochs=progress.num_epochs, step=step)
        if best.add(known, epoch=epoch + 1):
            keeper.keep_best()

    return validate


def _validated(config: Config, start: Start) -> float | None:
    """The accuracy after the epochs that are done, if the run came to it before it ended."""
    known = validation_after(config.output_dir, start.epoch) if dist.rank() == 0 else None
    return dist.gather_objects(known)[0]


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


def _is_due(epoch: int, period: int, num_epochs: int) -> bool:
    return (epoch + 1) % period == 0 or epoch + 1 == num_epochs
