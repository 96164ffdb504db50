"""The training loop, and nothing else."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from slowfast_mlp.engine.accumulate import backward_in_parts
from slowfast_mlp.engine.batch_norm import KeptStatistics
from slowfast_mlp.engine.metrics import RunningSums
from slowfast_mlp.engine.nonfinite import SkippedSteps
from slowfast_mlp.engine.optimizer import set_learning_rate
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.prefetch import on_device
from slowfast_mlp.engine.progress import Progress


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
    num_parts: int,
    after_step: Callable[[], None],
    device: torch.device,
) -> None:
    """Trains over the loader once. `lr_at` maps a fractional epoch to a learning rate, `to_input` the
    loader's Views to clips [B, 3, T, H, W], `make_targets` labels [B] to targets [B, K], and `share_done` a
    step to the share of the epoch's clips before it: steps may have batches of different sizes.

    `mix` mixes clips and targets, given the epoch and the step; then no accuracy is reported, because a mixed
    clip has no class. A batch goes through the model in `num_parts` parts; a step is one of the optimiser,
    and `after_step` follows it. Waits for the device only where `progress` writes a line. Raises UserError
    there when `skipped_steps` has seen too many.
    """
    model.train()
    names = ("loss", "clips", "failed", "grad_norm", "steps", "finite_clips")
    statistics = KeptStatistics(model)
    sums = RunningSums(names + (() if mix else ("correct", "correct5")), device)
    progress.start_epoch(epoch)
    waited_since = time.perf_counter()
    for step, views in enumerate(on_device(loader, device)):
        progress.add_wait(time.perf_counter() - waited_since)
        progress.failed.add(views.failures)
        lr = lr_at(epoch + share_done(step))
        set_learning_rate(optimizer, lr)
        clips = to_input(views)  # B 3 T H W
        labels = views.labels  # B
        targets = make_targets(labels)  # B K
        if mix:
            clips, targets = mix(clips, targets, epoch=epoch, step=step)
        statistics.keep()
        loss, logits = backward_in_parts(model, clips, targets, precision, num_parts=num_parts)
        norm, skipped = precision.step(optimizer, model, max_norm)
        statistics.restore_where(skipped)
        after_step()
        skipped_steps.add(step, views.videos, skipped)
        counts = (len(labels), sum(failure.num_views for failure in views.failures))
        total, norm = (value.masked_fill(skipped, 0) for value in (loss * len(labels), norm))
        correct = () if mix else _correct(logits, labels)
        sums.add(total, *counts, norm, ~skipped, len(labels) * ~skipped, *correct)
        if progress.is_due(step):
            progress.line(step, lr=lr, sums=sums.take())
            skipped_steps.look(epoch=epoch, num_steps=progress.num_steps, lr=lr)
        waited_since = time.perf_counter()
    progress.end_epoch(lr=lr)


def _correct(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """How many labels [B] are the best, and among the five best, of the logits [B, K]."""
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels.unsqueeze(1)  # B 5
    return best[:, 0].sum(), best.sum()
