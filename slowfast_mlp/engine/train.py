"""The training loop, and nothing else."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

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
    make_targets: Callable[[Tensor], Tensor],
    max_norm: float | None,
    device: torch.device,
) -> None:
    """Trains over the loader once. `lr_at` maps a fractional epoch to a learning rate, `make_targets` labels
    [B] to targets [B, K].

    Waits for the device only where `progress` writes a line. Raises UserError when the loss is not finite
    there.
    """
    model.train()
    names = ("loss", "correct", "correct5", "clips", "videos", "failed", "grad_norm", "steps")
    sums = RunningSums(names, device)
    progress.start_epoch(epoch, num_steps=len(loader))
    waited_since = time.perf_counter()
    for step, views in enumerate(loader):
        progress.add_wait(time.perf_counter() - waited_since)
        progress.failed.add(views.failures)
        lr = lr_at(epoch + step / len(loader))
        for group in optimizer.param_groups:
            group["lr"] = lr
        clips = views.clips.to(device, non_blocking=True)  # B 3 T H W
        labels = views.labels.to(device, non_blocking=True)  # B
        with precision.autocast():
            logits = model(clips)  # B K
        # fp32: the log-sum-exp over 400 classes loses the small ones in half precision.
        loss = F.cross_entropy(logits.float(), make_targets(labels))
        norm = precision.step(loss, optimizer, model, max_norm)
        best = logits.detach().topk(min(5, logits.shape[1]), dim=1).indices == labels.unsqueeze(1)  # B 5
        counts = (len(labels), len(views.videos.unique()), len(views.failures))
        sums.add(loss * len(labels), best[:, 0].sum(), best.sum(), *counts, norm, 1)
        if progress.is_due(step):
            window = sums.take()
            progress.line(step, lr=lr, sums=window)
            loss_and_norm = window["loss"] + (0 if precision.skips_overflows else window["grad_norm"])
            _demand_finite(loss_and_norm, epoch, step, progress.log_period, lr)
        waited_since = time.perf_counter()
    progress.end_epoch(lr=lr)


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
