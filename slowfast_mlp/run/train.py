"""Training: from the newest checkpoint, or from the start, to the last epoch."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from slowfast_mlp.builders import annotations, loaders, solver
from slowfast_mlp.builders.loaders import TrainSampler
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.rank_state import RankState
from slowfast_mlp.config.schema import Config
from slowfast_mlp.distributed import data_parallel
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed.signals import StopSignals
from slowfast_mlp.distributed.watchdog import Watchdog
from slowfast_mlp.engine import results
from slowfast_mlp.engine.compile import compile_replica
from slowfast_mlp.engine.ema import Ema
from slowfast_mlp.engine.evaluate import EvalModel, Evaluation
from slowfast_mlp.engine.metrics import BestValidation
from slowfast_mlp.engine.precise_bn import RunningStatistics, first_clips_of
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.train import train_one_epoch
from slowfast_mlp.log.decode_failures import FailedVideos
from slowfast_mlp.log.metrics_file import validation_after
from slowfast_mlp.log.nonfinite_steps import SkippedSteps
from slowfast_mlp.log.progress import Progress
from slowfast_mlp.log.run_log import RunLog
from slowfast_mlp.run.checkpointing import Keeper
from slowfast_mlp.run.resume import Start, resume_or_start, write_config
from slowfast_mlp.run.test import evaluator_of


def train(
    config: Config,
    *,
    log: RunLog,
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    videos: dict[str, annotations.Records],
    stop: StopSignals,
    watchdog: Watchdog,
) -> None:
    """Trains from the newest checkpoint of the output folder, or from the start. Raises Stopped."""
    num_epochs, label_names = config.solver.max_epoch, videos["train"].label_names
    loader = _train_loader(config, device, videos["train"])
    sampler = loader.batch_sampler
    optimizer = solver.optimizer(config.solver, model, shard=config.train.shard_optimizer)
    best, ema = BestValidation(), solver.ema(config.train, model)
    stage = _parts_of_training(config, device, sampler, ema)
    parts = dict(model=model, optimizer=optimizer, precision=precision, best=best)
    nets = {"buffers": model}  # by the name of their statistics in the state; what is judged is the last
    if ema:
        parts["ema"], nets["ema_buffers"] = ema, ema.model
    first_clips = first_clips_of(loader, stage["to_input"], device, watchdog)
    statistics = _running_statistics(config, nets, precision, first_clips, validates="val" in videos)
    start = resume_or_start(config, parts, sampler, num_epochs, label_names)
    write_config(config, name="config.yaml")
    failed = FailedVideos(config.output_dir, max_fraction=config.data.max_failed_fraction)
    progress = _progress_from(start, config, log, failed, sampler, num_epochs)
    skipped = _skipped_steps(start, config, videos["train"], device)
    own = RankState(nets, progress, failed, skipped)
    own.load(start.rank_states, rank=dist.rank(), world_size=dist.world_size())
    replica = data_parallel.replicate(model, device, sync_bn=config.model.sync_bn)
    replica = compile_replica(replica, model, device) if config.train.compile else replica
    keeper = Keeper(
        config, parts, own, sampler=sampler, progress=progress, stop=stop, label_names=label_names
    )
    judge = _judge(config, list(nets.values())[-1], precision, device, videos.get("val"), watchdog)
    validate = _validation(log, judge, best, keeper)
    end_epoch = _end_of_epochs(statistics, keeper, watchdog)
    with stop.deferred():
        if start.step == 0:
            keeper.take_up(start.path)
            if not start.is_settled:
                sampler.epoch = start.epoch - 1
                end_epoch(start.epoch - 1)
            validate(start.epoch - 1, known=_validated(config, start))
        for epoch in range(start.epoch, num_epochs):
            sampler.epoch = epoch
            train_one_epoch(
                replica, watchdog.watch(loader, f"training epoch {epoch + 1}", first_step=sampler.first_step),
                optimizer, precision, progress, skipped, epoch=epoch,
                first_step=sampler.first_step, end_step=keeper.end_step, **stage,
            )  # fmt: skip
            end_epoch(epoch)
            validate(epoch)
        keeper.finish()
    if start.epoch < num_epochs:
        newest = checkpoint.newest(config.output_dir)
        log.info(f"trained to epoch {num_epochs}; the last checkpoint is {newest}")


def _nothing(skipped: Tensor) -> None:
    """What follows a step where nothing does."""


def _end_of_epochs(
    statistics: RunningStatistics, keeper: Keeper, watchdog: Watchdog
) -> Callable[[int], None]:
    """A function that settles the running statistics after an epoch index, and saves."""

    def end_epoch(epoch: int) -> None:
        is_last = epoch + 1 == keeper.progress.num_epochs
        is_settled = statistics.synchronize(epoch, is_last=is_last, must_stop=keeper.must_leave)
        watchdog.note("saving the checkpoint")
        keeper.end_epoch(epoch, is_settled=is_settled)

    return end_epoch


def _running_statistics(
    config: Config,
    nets: Mapping[str, nn.Module],
    precision: Precision,
    first_clips: Callable[[int], Iterator[Tensor]],
    *,
    validates: bool,
) -> RunningStatistics:
    """Those of the networks, settled anew where a validation or checkpoint follows."""
    return RunningStatistics(
        nets=list(nets.values()),
        precision=precision,
        num_precise=solver.precise_batches(config.bn, nets["buffers"], name=config.model.name),
        # Not those that a signal asks for: whether there was one must not show in what comes after.
        periods=[config.train.checkpoint_period] + [config.train.eval_period] * validates,
        first_clips=first_clips,
    )


def _skipped_steps(
    start: Start, config: Config, videos: annotations.Records, device: torch.device
) -> SkippedSteps:
    """What takes note of skipped steps; the list of them is as it was when training stood at `start`."""
    skipped = SkippedSteps(
        config.output_dir,
        max_in_a_row=config.solver.max_nonfinite_steps,
        seed=config.rng_seed,
        path_of=lambda record: videos[record].path,
        device=device,
    )
    if dist.rank() == 0:
        skipped.rewind(epoch=start.epoch, step=start.step)
    return skipped


def _progress_from(
    start: Start, config: Config, log: RunLog, failed: FailedVideos, sampler: TrainSampler, num_epochs: int
) -> Progress:
    """The times of the run, and its log as it was when training stood at `start`."""
    steps = [sampler.num_steps(epoch) for epoch in range(num_epochs)]
    counted = sum(steps[: start.epoch]) + start.step
    done = counted if start.steps_done is None else start.steps_done
    log.rewind(step=done, epoch=start.epoch)
    return Progress(log, failed, log_period=config.log_period, steps_of_epochs=steps, shift=done - counted)


def _judge(
    config: Config,
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    videos: annotations.Records | None,
    watchdog: Watchdog,
) -> Callable[[], Evaluation] | None:
    """A function that judges the model by one view of every video of the validation; None where there is
    none.
    """
    if videos is None:
        return None
    views = dict(dataset=config.train.dataset, num_clips=1, num_crops=1, offset=True)
    views |= dict(watchdog=watchdog, what="the validation")
    evaluator = evaluator_of(config, precision, device, videos, **views)
    candidate = EvalModel(model=model, ensemble=config.test.ensemble)
    return lambda: evaluator([candidate])[0]


def _validation(
    log: RunLog, judge: Callable[[], Evaluation] | None, best: BestValidation, keeper: Keeper
) -> Callable[..., None]:
    """A function that validates after an epoch index, if that is due, and keeps what is best; where `known`
    is the accuracy, it is not measured again.
    """
    period, progress = keeper.config.train.eval_period, keeper.progress

    def validate(epoch: int, *, known: float | None = None) -> None:
        if judge is None or epoch < 0 or not _is_due(epoch, period, progress.num_epochs):
            return
        step, is_new = progress.steps_before(epoch + 1), known is None
        if is_new:
            evaluation = judge()
            known = evaluation.accuracy(1)
            results.log_validation(log, evaluation, epoch=epoch, num_epochs=progress.num_epochs, step=step)
        is_best = best.add(known, epoch=epoch + 1)
        if is_new:
            log.outcome({"best_top1": best.top1, "final_top1": known}, step=step)
        if is_best:
            keeper.keep_best()

    return validate


def _validated(config: Config, start: Start) -> float | None:
    """The accuracy after the epochs that are done, if the run came to it before it ended."""
    known = validation_after(config.output_dir, start.epoch) if dist.rank() == 0 else None
    return dist.gather_objects(known)[0]


def _parts_of_training(
    config: Config, device: torch.device, sampler: TrainSampler, ema: Ema | None
) -> dict[str, Any]:
    """The learning rate, what makes clips and targets of a batch, and what a step does with it, as arguments
    of train_one_epoch.
    """
    clips_per_rank = config.train.batch_size // dist.world_size() * config.aug.num_sample
    return dict(
        lr_at=solver.schedule(config.solver),
        to_input=loaders.to_input(config.data, device),
        share_done=sampler.share_done,
        make_targets=solver.targets(config.solver, config.model.num_classes),
        mix=loaders.mix(config.mixup, clips_per_rank=clips_per_rank, seed=config.rng_seed, rank=dist.rank()),
        num_classes=config.model.num_classes,
        num_parts=solver.num_parts(config.train, smallest_batch=clips_per_rank),
        max_norm=config.solver.clip_grad_l2norm,
        after_step=ema.update if ema else _nothing,
        device=device,
        seed=config.rng_seed,
    )


def _train_loader(config: Config, device: torch.device, videos: annotations.Records) -> DataLoader:
    """This rank's batches of training; their sampler knows the steps."""
    sampler = loaders.train_sampler(
        config.train,
        videos,
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
        process=loaders.LoadingProcess(device=device, num_cores=dist.cores_of_process()),
        seed=config.rng_seed,
    )


def _is_due(epoch: int, period: int, num_epochs: int) -> bool:
    return (epoch + 1) % period == 0 or epoch + 1 == num_epochs
