"""The training loop."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from slowfast_mlp.distributed.process_group import rank
from slowfast_mlp.engine.grad_accumulation import backward_in_parts
from slowfast_mlp.engine.optimizer import set_learning_rate
from slowfast_mlp.engine.prefetch import on_device
from slowfast_mlp.engine.rng import seed_step
from slowfast_mlp.engine.training import Training
from slowfast_mlp.layers.batch_norm import KeptStatistics
from slowfast_mlp.log.nonfinite_steps import SkippedSteps
from slowfast_mlp.log.progress import Progress
from slowfast_mlp.log.running_sums import RunningSums


class StepResult(NamedTuple):
    """A training step: its loss [], gradient norm [] and logits [B, K]; whether it was skipped [] (bool)."""

    loss: Tensor
    norm: Tensor
    logits: Tensor
    skipped: Tensor
    lr: float


def train_one_epoch(training: Training, epoch: int) -> Iterator[int]:
    """Trains for one epoch; after every step yields the number of steps done, for the caller to save.

    When resuming, the loader starts at the sampler's `first_step`. With `mix` no accuracy is reported, as a
    mixed clip has no class. The host waits for the device only where `progress` writes a line.
    """
    progress, device = training.progress, training.device
    training.loop_model.train()
    statistics = KeptStatistics(training.loop_model)
    sums = _sums(device, counted=() if training.mix else _counted(training.num_classes))
    progress.start_epoch(epoch, sums)
    waited_since = time.perf_counter()
    for step, batch in enumerate(on_device(training.loader, device), start=training.sampler.first_step):
        progress.add_wait(time.perf_counter() - waited_since)
        progress.failed.add(batch.failures)
        result = _train_step(training, statistics, batch, epoch=epoch, step=step)
        training.skipped_steps.add(step, batch.videos, result.skipped, lr=result.lr)
        correct = () if training.mix else _correct(result.logits, batch.labels)
        _add(sums, result, *correct, batch=batch)
        if progress.is_due(step):
            _write_line(step, result.lr, sums, progress, training.skipped_steps)
        yield step + 1
        waited_since = time.perf_counter()
    progress.end_epoch(lr=result.lr)


def _train_step(
    training: Training, statistics: KeptStatistics, batch: Any, *, epoch: int, step: int
) -> StepResult:
    """One step of the optimizer. The model's random numbers come from (seed, rank, epoch, step)."""
    lr = training.lr_at(epoch + training.sampler.share_done(step))
    set_learning_rate(training.optimizer, lr)
    clips = training.device_transform(batch)  # B 3 T S S
    targets = training.make_targets(batch.labels)  # B K
    if training.mix:
        clips, targets = training.mix(clips, targets, epoch=epoch, step=step)
    seed_step(training.device, training.seed, rank(), epoch, step)
    model, precision = training.loop_model, training.precision
    statistics.keep()
    loss, logits = backward_in_parts(
        model, clips, targets, precision, accumulate_steps=training.accumulate_steps
    )
    norm, skipped = precision.step(training.optimizer, model, training.max_grad_norm)
    statistics.restore_where(skipped)
    if training.ema:
        training.ema.update(skipped)
    return StepResult(loss, norm, logits, skipped, lr)


def _sums(device: torch.device, *, counted: tuple[str, ...]) -> RunningSums:
    """The sums of a line, in the order of `_add`."""
    names = ("loss", "clips", "failed", "grad_norm", "steps", "skipped", "finite_clips")
    return RunningSums(names + counted, device)


def _counted(num_classes: int) -> tuple[str, ...]:
    """Names of what `_correct` counts: of five classes and fewer every label is among the five best."""
    return ("correct", "correct5") if num_classes > 5 else ("correct",)


def _add(sums: RunningSums, result: StepResult, *correct: Tensor, batch: Any) -> None:
    """Adds a step, whose loss and gradient norm count only if it was not skipped."""
    num_clips, skipped = len(batch.labels), result.skipped
    num_failed = sum(failure.num_views for failure in batch.failures)
    total, norm = (value.masked_fill(skipped, 0) for value in (result.loss * num_clips, result.norm))
    sums.add(total, num_clips, num_failed, norm, ~skipped, skipped, num_clips * ~skipped, *correct)


def _write_line(
    step: int, lr: float, sums: RunningSums, progress: Progress, skipped_steps: SkippedSteps
) -> None:
    """Ends the window of a line with `step`. Waits for the device: for its sums, and once more only if they
    say that steps were skipped.
    """
    window = sums.take()
    progress.line(step, lr=lr, sums=window)
    if window["skipped"]:
        skipped_steps.flush(epoch=progress.epoch, num_steps=progress.num_steps)
    else:
        skipped_steps.clear()


def _correct(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """How many labels [B] are the best of the logits [B, K], and among the five best of more."""
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels.unsqueeze(1)  # B 5
    return tuple((best[:, 0].sum(), best.sum())[: len(_counted(logits.shape[1]))])
