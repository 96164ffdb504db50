"""SOLVER, MULTIGRID -> optimiser, learning rate, targets, and the shapes of the steps."""

import logging
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from slowfast_mlp.config import schema
from slowfast_mlp.data.multigrid import Multigrid, demand_model
from slowfast_mlp.engine.metrics import soft_targets
from slowfast_mlp.engine.optimizer import adamw
from slowfast_mlp.engine.schedule import WarmupCosine

logger = logging.getLogger(__name__)


def multigrid(
    multigrid: schema.Multigrid, data: schema.Data, net: nn.Module, *, name: str, max_epoch: int
) -> Multigrid:
    """The shapes of the training's steps, every one of which the model takes; `name` is that of the model."""
    grid = Multigrid(
        long_cycle=multigrid.long_cycle,
        short_cycle=multigrid.short_cycle,
        epoch_factor=multigrid.epoch_factor,
        num_frames=data.num_frames,
        crop_size=data.train_crop_size,
        max_epoch=max_epoch,
    )
    demand_model(grid, takes=net.clip_sizes.takes, legal=net.clip_sizes.in_words(), name=name)
    return grid


def optimizer(solver: schema.Solver, net: nn.Module) -> torch.optim.Optimizer:
    """AdamW, with no decay for biases and norms."""
    return adamw(net, lr=solver.base_lr, weight_decay=solver.weight_decay)


def schedule(solver: schema.Solver, grid: Multigrid) -> Callable[[float], float]:
    """The learning rate over the epochs, in proportion to the batch of their phase."""
    if solver.warmup_epochs >= grid.num_epochs:
        logger.warning(
            "SOLVER.WARMUP_EPOCHS %g is not below the %d epochs of SOLVER.MAX_EPOCH %d: the learning rate "
            "never reaches BASE_LR",
            solver.warmup_epochs, grid.num_epochs, solver.max_epoch,
        )  # fmt: skip
    curve = WarmupCosine(
        base_lr=solver.base_lr,
        start_lr=solver.warmup_start_lr,
        end_lr=solver.cosine_end_lr,
        warmup_epochs=solver.warmup_epochs,
        max_epoch=grid.num_epochs,
    )
    return lambda epoch: curve(epoch) * grid.lr_factor(epoch)


def targets(solver: schema.Solver, num_classes: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Labels [B] -> targets [B, K] of the loss."""
    return partial(soft_targets, num_classes=num_classes, smoothing=solver.label_smoothing)
