"""SOLVER, TRAIN, BN -> optimizer, learning rate, targets, EMA."""

import logging
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from slowfast_mlp.config import schema
from slowfast_mlp.engine.ema import Ema
from slowfast_mlp.engine.metrics import soft_targets
from slowfast_mlp.engine.optimizer import METHODS, OptimizerSettings, make_optimizer, parameter_groups
from slowfast_mlp.engine.schedule import WarmupCosine
from slowfast_mlp.errors import UserError
from slowfast_mlp.layers.batch_norm import batch_norms

logger = logging.getLogger(__name__)


def optimizer(solver: schema.Solver, net: nn.Module, *, shard: bool) -> torch.optim.Optimizer:
    """The optimiser, with no decay for biases and norms; `shard` spreads its state over the ranks."""
    if len(solver.betas) != 2:
        raise UserError(f"SOLVER.BETAS {list(solver.betas)}: give two numbers, such as [0.9, 0.999].")
    if solver.optimizing_method == "sgd" and solver.nesterov and (solver.dampening or not solver.momentum):
        raise UserError(
            f"SOLVER.NESTEROV True with SOLVER.MOMENTUM {solver.momentum:g} and SOLVER.DAMPENING "
            f"{solver.dampening:g}: it needs a momentum above 0 and no dampening. Set SOLVER.NESTEROV False."
        )
    _name_those_of_others(solver)
    groups = parameter_groups(net, solver.weight_decay, layer_decay=solver.layer_decay, stages=net.stages())
    settings = OptimizerSettings(
        method=solver.optimizing_method,
        lr=solver.base_lr,
        betas=solver.betas,
        eps=solver.eps,
        momentum=solver.momentum,
        dampening=solver.dampening,
        nesterov=solver.nesterov,
        fused=solver.fused,
    )
    return make_optimizer(groups, settings, shard=shard)


def _name_those_of_others(solver: schema.Solver) -> None:
    """Warns of settings that only other methods read, where they are set."""
    method, defaults = solver.optimizing_method, schema.Solver()
    _, read = METHODS[method]
    of_others = dict.fromkeys(name for _, names in METHODS.values() for name in names if name not in read)
    changed = [name for name in of_others if getattr(solver, name) != getattr(defaults, name)]
    if changed:
        logger.warning(
            "%s without effect: SOLVER.OPTIMIZING_METHOD %s reads %s",
            ", ".join(f"SOLVER.{name.upper()} {getattr(solver, name)}" for name in changed),
            method,
            ", ".join(f"SOLVER.{name.upper()}" for name in read),
        )


def accumulate_steps(train: schema.Train, *, smallest_batch: int) -> int:
    """The parts in which a batch goes through the model; `smallest_batch` is the least number of clips that
    a process has in a step. Raises UserError.
    """
    if train.accumulate_steps > smallest_batch:
        raise UserError(
            f"TRAIN.ACCUMULATE_STEPS {train.accumulate_steps} cuts a step's batch into parts, and a process "
            f"has {smallest_batch} clips in it: TRAIN.BATCH_SIZE counts all parts. Raise it, or use "
            f"{smallest_batch} at most."
        )
    return train.accumulate_steps


def ema(train: schema.Train, net: nn.Module) -> Ema | None:
    """The average of the weights, or None where TRAIN.EMA_DECAY is 0."""
    return Ema(net, decay=train.ema_decay, warmup=train.ema_warmup) if train.ema_decay else None


def precise_batches(bn: schema.Bn, net: nn.Module, *, name: str) -> int:
    """Steps over which running statistics are recomputed, 0 where they are not. Raises UserError."""
    if not bn.use_precise_stats:
        return 0
    if not batch_norms(net):
        raise UserError(f"BN.USE_PRECISE_STATS True: {name} has no batch norm. Set it to False.")
    return bn.num_batches_precise


def schedule(solver: schema.Solver) -> Callable[[float], float]:
    """The learning rate at a fractional epoch. Raises UserError."""
    if solver.cooldown_epochs >= solver.max_epoch:
        raise UserError(
            f"SOLVER.COOLDOWN_EPOCHS {solver.cooldown_epochs} are the last of the {solver.max_epoch} epochs "
            f"of SOLVER.MAX_EPOCH {solver.max_epoch}: give fewer, or 0."
        )
    if solver.warmup_epochs >= solver.max_epoch - solver.cooldown_epochs:
        logger.warning(
            "SOLVER.WARMUP_EPOCHS %g is not below the %d epochs of SOLVER.MAX_EPOCH %d, less the cooldown: "
            "the learning rate never reaches BASE_LR",
            solver.warmup_epochs,
            solver.max_epoch - solver.cooldown_epochs,
            solver.max_epoch,
        )
    return WarmupCosine(
        base_lr=solver.base_lr,
        start_lr=solver.warmup_start_lr,
        end_lr=solver.cosine_end_lr,
        warmup_epochs=solver.warmup_epochs,
        max_epoch=solver.max_epoch,
        cosine_after_warmup=solver.cosine_after_warmup,
        cooldown_epochs=solver.cooldown_epochs,
    )


def targets(solver: schema.Solver, num_classes: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Labels [B] -> targets [B, K] of the loss."""
    return partial(soft_targets, num_classes=num_classes, smoothing=solver.label_smoothing)
