"""Training, from where it starts or resumes to the last epoch."""

from collections.abc import Callable
from dataclasses import replace

from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.config.schema import Train
from slowfast_mlp.distributed import data_parallel
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.engine import results
from slowfast_mlp.engine.compile import compile_replica
from slowfast_mlp.engine.evaluate import EvalModel
from slowfast_mlp.engine.precise_bn import RunningStatistics, first_clips_of
from slowfast_mlp.engine.train import train_one_epoch
from slowfast_mlp.engine.training import Training
from slowfast_mlp.log.metrics_file import validation_after
from slowfast_mlp.run.checkpointing import Checkpointer
from slowfast_mlp.run.resume import Start
from slowfast_mlp.run.session import Session


def fit(training: Training, start: Start, settings: Train, session: Session) -> None:
    """Trains from `start` to the last epoch: epochs, running statistics, checkpoints, validations.

    `settings` are TRAIN. Raises Stopped and UserError.
    """
    num_epochs, sampler, watchdog = training.progress.num_epochs, training.sampler, session.watchdog
    training.replica = data_parallel.replicate(training.model, training.device, sync_bn=training.sync_bn)
    if settings.compile:
        training.replica = compile_replica(training.replica, training.model, training.device)
    resumed_from = None if start.step else start.path
    output_dir = session.log.output_dir
    checkpointer = Checkpointer(
        training, settings, output_dir=output_dir, stop=session.stop, resumed_from=resumed_from
    )
    end_epoch = _end_epoch(training, settings, session, checkpointer)
    validate = _validation(training, settings, session, checkpointer)
    loader = training.loader
    with session.stop.deferred():
        if start.step == 0:
            if not start.bn_synced:
                sampler.epoch = start.epoch - 1
                end_epoch(start.epoch - 1)
            validate(start.epoch - 1, _logged_accuracy(output_dir, start.epoch))
        for epoch in range(start.epoch, num_epochs):
            sampler.epoch = epoch
            name = f"training epoch {epoch + 1}"
            training.loader = watchdog.watch(loader, name, first_step=sampler.first_step)
            for num_steps in train_one_epoch(training, epoch):
                checkpointer.end_step(num_steps)
            end_epoch(epoch)
            validate(epoch)
        checkpointer.finish()
    if start.epoch < num_epochs:
        newest = checkpoint.newest(output_dir)
        session.log.info(f"trained to epoch {num_epochs}; the last checkpoint is {newest}")


def _end_epoch(
    training: Training, settings: Train, session: Session, checkpointer: Checkpointer
) -> Callable[[int], None]:
    """A function of the epoch index that synchronizes or recomputes running statistics, and saves."""
    loader, device_transform, watchdog = training.loader, training.device_transform, session.watchdog
    statistics = RunningStatistics(
        nets=list(training.rank_state.nets.values()),
        precision=training.precision,
        num_precise=training.num_precise_batches,
        # Not when a signal asks for a checkpoint: a stop must not change what the training computes.
        periods=[settings.checkpoint_period] + [settings.eval_period] * (training.evaluator is not None),
        first_clips=first_clips_of(loader, device_transform, training.device, watchdog),
    )

    def end_epoch(epoch: int) -> None:
        is_last = epoch + 1 == training.progress.num_epochs
        bn_synced = statistics.synchronize(epoch, is_last=is_last, must_stop=checkpointer.must_stop)
        watchdog.note("saving the checkpoint")
        checkpointer.end_epoch(epoch, bn_synced=bn_synced)

    return end_epoch


def _validation(
    training: Training, settings: Train, session: Session, checkpointer: Checkpointer
) -> Callable[..., None]:
    """A function of the epoch index that validates if that is due, and keeps the best checkpoint. With a
    known top-1 it does not measure again.
    """
    if training.evaluator is None:
        return lambda epoch, top1=None: None
    progress, log = training.progress, session.log
    loader = session.watchdog.watch(training.evaluator.loader, "the validation")
    evaluator = replace(training.evaluator, loader=loader)
    candidate = EvalModel(model=training.eval_model, ensemble=training.ensemble)

    def validate(epoch: int, top1: float | None = None) -> None:
        is_last = epoch + 1 == progress.num_epochs
        if epoch < 0 or not (is_last or (epoch + 1) % settings.eval_period == 0):
            return
        step, is_new = progress.steps_before(epoch + 1), top1 is None
        if is_new:
            (evaluation,) = evaluator([candidate])
            top1 = evaluation.accuracy(1)
            results.log_validation(log, evaluation, epoch=epoch, num_epochs=progress.num_epochs, step=step)
        is_best = training.best.add(top1, epoch=epoch + 1)
        if is_new:
            log.outcome({"best_top1": training.best.top1, "final_top1": top1}, step=step)
        if is_best:
            checkpointer.keep_best()

    return validate


def _logged_accuracy(output_dir: str, epoch: int) -> float | None:
    """The top-1 that an earlier run logged after so many epochs; None if it ended before."""
    top1 = validation_after(output_dir, epoch) if dist.rank() == 0 else None
    return dist.gather_objects(top1)[0]
