"""The training loop, and nothing else."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from slowfast_mlp.distributed.process_group import rank
from slowfast_mlp.engine.batch_norm import KeptStatistics
from slowfast_mlp.engine.grad_accumulation import backward_in_parts
from slowfast_mlp.engine.optimizer import set_learning_rate
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.prefetch import on_device
from slowfast_mlp.engine.rng import seed_step
from slowfast_mlp.log.nonfinite_steps import SkippedSteps
from slowfast_mlp.log.progress import Progress
from slowfast_mlp.log.running_sums import RunningSums


def train_one_epoch(
    model: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    precision: Precision,
    progress: Progress,
    skipped_steps: SkippedSteps,
    *,
    epoch: int,
    lr_at: Callable[[float], float],
    to_input: Callable[[Any], Tensor],
    share_done: Callable[[int], float],
    make_targets: Callable[[Tensor], Tensor],
    mix: Callable[..., tuple[Tensor, Tensor]] | None,
    max_norm: float | None,
    num_classes: int,
    num_parts: int,
    after_step: Callable[[Tensor], None],
    device: torch.device,
    seed: int,
    first_step: int,
    end_step: Callable[[int], None],
) -> None:
    """Trains over the loader once, which begins with step `first_step` of the epoch. `lr_at` maps a
    fractional epoch to a learning rate, `to_input` the loader's Views to clips [B, 3, T, H, W],
    `make_targets` labels [B] to targets [B, K], `share_done` a step to the share of the epoch's clips before
    it. `mix` mixes clips and targets, given epoch and step; then no accuracy is reported, as a mixed clip has
    no class (nor is a top-5 of `num_classes` up to 5). A batch goes through the model in `num_parts` parts; a
    step is one of the optimiser, and `after_step` follows it, told whether it was skipped [] (bool).
    `end_step` hears how many steps of the epoch are done. The model's own draws come from (seed, rank, epoch,
    step). Waits for the device only where `progress` writes a line.
    """
    model.train()
    statistics, sums = KeptStatistics(model), _sums(device, counted=() if mix else _counted(num_classes))
    progress.start_epoch(epoch, sums)
    waited_since = time.perf_counter()
    for step, views in enumerate(on_device(loader, device), start=first_step):
        progress.add_wait(time.perf_counter() - waited_since)
        progress.failed.add(views.failures)
        lr = lr_at(epoch + share_done(step))
        set_learning_rate(optimizer, lr)
        clips, labels = to_input(views), views.labels  # B 3 T H W, B
        targets = make_targets(labels)  # B K
        if mix:
            clips, targets = mix(clips, targets, epoch=epoch, step=step)
        seed_step(device, seed, rank(), epoch, step)
        statistics.keep()
        loss, logits = backward_in_parts(model, clips, targets, precision, accumulate_steps=num_parts)
        norm, skipped = precision.step(optimizer, model, max_norm)
        statistics.restore_where(skipped)
        after_step(skipped)
        skipped_steps.add(step, views.videos, skipped, lr=lr)
        correct = () if mix else _correct(logits, labels)
        _add(sums, loss, norm, *correct, views=views, skipped=skipped)
        if progress.is_due(step):
            _write_line(step, lr, sums, progress, skipped_steps)
        end_step(step + 1)
        waited_since = time.perf_counter()
    progress.end_epoch(lr=lr)


def _sums(device: torch.device, *, counted: tuple[str, ...]) -> RunningSums:
    """The sums of a line, in the order of `_add`."""
    names = ("loss", "clips", "failed", "grad_norm", "steps", "skipped", "finite_clips")
    return RunningSums(names + counted, device)


def _counted(num_classes: int) -> tuple[str, ...]:
    """Names of what `_correct` counts: of five classes and fewer every label is among the five best."""
    return ("correct", "correct5") if num_classes > 5 else ("correct",)


def _add(
    sums: RunningSums, loss: Tensor, norm: Tensor, *correct: Tensor, views: Any, skipped: Tensor
) -> None:
    """Adds a step, whose loss [] and gradient norm [] count only if it was not skipped []."""
    num_clips = len(views.labels)
    num_failed = sum(failure.num_views for failure in views.failures)
    total, norm = (value.masked_fill(skipped, 0) for value in (loss * num_clips, norm))
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
        skipped_steps.look(epoch=progress.epoch, num_steps=progress.num_steps)
    else:
        skipped_steps.pass_over()


def _correct(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """How many labels [B] are the best of the logits [B, K], and among the five best of more."""
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels.unsqueeze(1)  # B 5
    return tuple((best[:, 0].sum(), best.sum())[: len(_counted(logits.shape[1]))])
