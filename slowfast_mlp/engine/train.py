"""The training loop, and nothing else."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from slowfast_mlp.engine.distributed import rank
from slowfast_mlp.engine.generators import seed_step
from slowfast_mlp.engine.metrics import RunningSums
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.progress import Progress
from slowfast_mlp.errors import UserError


def train_one_epoch(
    model: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    precision: Precision,
    progress: Progress,
    *,
    epoch: int,
    lr_at: Callable[[float], float],
    to_input: Callable[[Any], Tensor],
    share_done: Callable[[int], float],
    make_targets: Callable[[Tensor], Tensor],
    mix: Callable[..., tuple[Tensor, Tensor]] | None,
    max_norm: float | None,
    device: torch.device,
    seed: int,
    first_step: int,
    end_step: Callable[[int], None],
) -> None:
    """Trains over the loader once, which begins with step `first_step` of the epoch. `lr_at` maps a
    fractional epoch to a learning rate, `to_input` the loader's Views to clips [B, 3, T, H, W],
    `make_targets` labels [B] to targets [B, K], `share_done` a step to the share of the epoch's clips before
    it. `mix` mixes clips and targets, given epoch and step; then no accuracy is reported, as a mixed clip has
    no class. `end_step` hears how many steps of the epoch are done. The model's own draws come from (seed,
    rank, epoch, step). Waits for the device only where `progress` writes a line. Raises UserError when the
    loss is not finite there.
    """
    model.train()
    names = ("loss", "clips", "failed", "grad_norm", "steps")
    sums = RunningSums(names + (() if mix else ("correct", "correct5")), device)
    progress.start_epoch(epoch, sums)
    waited_since = time.perf_counter()
    for step, views in enumerate(loader, start=first_step):
        progress.add_wait(time.perf_counter() - waited_since)
        progress.failed.add(views.failures)
        lr = lr_at(epoch + share_done(step))
        for group in optimizer.param_groups:
            group["lr"] = lr
        clips = to_input(views)  # B 3 T H W
        labels = views.labels.to(device, non_blocking=True)  # B
        targets = make_targets(labels)  # B K
        if mix:
            clips, targets = mix(clips, targets, epoch=epoch, step=step)
        seed_step(device, seed, rank(), epoch, step)
        with precision.autocast():
            logits = model(clips)  # B K
        # fp32: the log-sum-exp over 400 classes loses the small ones in half precision.
        loss = F.cross_entropy(logits.float(), targets)
        norm = precision.step(loss, optimizer, model, max_norm)
        correct = () if mix else _correct(logits.detach(), labels)
        counts = (len(labels), sum(failure.num_views for failure in views.failures))
        sums.add(loss * len(labels), *counts, norm, 1, *correct)
        if progress.is_due(step):
            window = sums.take()
            progress.line(step, lr=lr, sums=window)
            loss_and_norm = window["loss"] + (0 if precision.skips_overflows else window["grad_norm"])
            _demand_finite(loss_and_norm, epoch, step, progress.log_period, lr)
        end_step(step + 1)
        waited_since = time.perf_counter()
    progress.end_epoch(lr=lr)


def _correct(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """How many labels [B] are the best, and among the five best, of the logits [B, K]."""
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels.unsqueeze(1)  # B 5
    return best[:, 0].sum(), best.sum()


def _demand_finite(value: float, epoch: int, step: int, log_period: int, lr: float) -> None:
    """What is not a number stays in the sum, so looking once a line is enough."""
    if not math.isfinite(value):
        first = max(0, step - log_period + 1)
        raise UserError(
            f"The loss or its gradient became {value} between steps {first + 1} and {step + 1} of epoch "
            f"{epoch + 1}, at a "
            f"learning rate of {lr:.3g}. Lower SOLVER.BASE_LR, set SOLVER.CLIP_GRAD_L2NORM, or try "
            "TRAIN.PRECISION fp32; what checkpoints there are are from before."
        )
