"""Everything that a training is made of, in one object."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.rank_state import RankState, mean_buffers
from slowfast_mlp.checkpoint.weights import EMA_KEY, check_finite
from slowfast_mlp.data.samplers import TrainSampler
from slowfast_mlp.distributed import data_parallel
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.engine.ema import Ema
from slowfast_mlp.engine.evaluate import Evaluator
from slowfast_mlp.engine.metrics import BestValidation
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.log.nonfinite_steps import SkippedSteps
from slowfast_mlp.log.progress import Progress


@dataclass(kw_only=True)
class Training:
    """The parts of a training. Its `state_dict` is the checkpoint.

    `loader` yields this rank's batches (Views or RawFrames) on the host in the order of `sampler`,
    `device_transform` makes clips [B, 3, T, S, S] of a batch on the device, `make_targets` maps labels [B] to
    targets [B, K], and `lr_at` a fractional epoch to a learning rate. `mix` mixes clips and targets of an
    epoch and step. A batch passes through the model in `accumulate_steps` parts.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    precision: Precision
    loader: Iterable[Any]
    sampler: TrainSampler
    device_transform: Callable[[Any], Tensor]
    make_targets: Callable[[Tensor], Tensor]
    lr_at: Callable[[float], float]
    progress: Progress
    skipped_steps: SkippedSteps
    num_classes: int
    device: torch.device
    seed: int
    mix: Callable[..., tuple[Tensor, Tensor]] | None = None
    max_grad_norm: float | None = None
    accumulate_steps: int = 1
    ema: Ema | None = None
    # Batches over which running statistics of batch norm are computed after an epoch; 0: they are not.
    num_precise_batches: int = 0
    evaluator: Evaluator | None = None
    ensemble: str = "logits"
    best: BestValidation = field(default_factory=BestValidation)
    # What every checkpoint holds besides the states of the parts.
    config_text: str = ""
    label_names: Sequence[str] = ()
    ran_on: Mapping[str, str] = field(default_factory=dict)
    # Whether the running statistics of batch norm are those that a checkpoint should hold; else resuming
    # computes them.
    bn_synced: bool = True
    # The data-parallel or compiled form of the model, if there is one.
    replica: nn.Module | None = None

    @cached_property
    def parts(self) -> dict[str, checkpoint.Stateful]:
        """The parts with a state in a checkpoint, by the names of their entries."""
        parts = dict(model=self.model, optimizer=self.optimizer, precision=self.precision, best=self.best)
        return parts | ({"ema": self.ema} if self.ema else {})

    @property
    def loop_model(self) -> nn.Module:
        """The model as the training loop calls it."""
        return self.replica or self.model

    @property
    def eval_model(self) -> nn.Module:
        """The model that is validated: the averaged weights where there are any."""
        return self.ema.model if self.ema else self.model

    @cached_property
    def rank_state(self) -> RankState:
        """What each rank has for itself in the middle of an epoch."""
        nets = {"buffers": self.model} | ({"ema_buffers": self.ema.model} if self.ema else {})
        return RankState(nets, self.progress, self.progress.failed, self.skipped_steps)

    def state_dict(self, step: int) -> dict[str, Any]:
        """The contents of the checkpoint after `step` steps of the sampler's epoch, copied to the CPU.

        All ranks must call this. Ranks other than 0 get the position only. Raises UserError if a weight is
        not finite.
        """
        check_finite(self.model)
        epoch, position = self.sampler.epoch, self.sampler.state_dict(step)
        self.skipped_steps.flush(epoch=epoch, num_steps=self.sampler.num_steps(epoch))
        data_parallel.gather_optimizer_state(self.optimizer)
        rank_states = dist.gather_objects(self.rank_state.state_dict(in_epoch=position["step"] > 0))
        done = {"epoch": position["epoch"] - 1, "step": position["step"]}
        if dist.rank() != 0:
            return done
        contents = checkpoint.snapshot(
            self.parts,
            **done,
            config_text=self.config_text,
            label_names=self.label_names,
            also={
                "steps_done": self.progress.steps_before(position["epoch"]) + position["step"],
                "sampler_state": position,
                "rank_states": rank_states,
                "is_settled": self.bn_synced,
                "ran_on": dict(self.ran_on),
            },
        )
        _put_mean_buffers(contents, rank_states)
        return contents


def _put_mean_buffers(contents: dict[str, Any], rank_states: Sequence[dict[str, Any]]) -> None:
    """Gives the weights of a checkpoint the mean running statistics of the ranks, as a test needs them."""
    weights = {"buffers": contents["model_state"]}
    if EMA_KEY in contents:
        weights["ema_buffers"] = contents[EMA_KEY]["weights"]
    for key, values in weights.items():
        means = mean_buffers(rank_states, key)
        values |= {name: mean for name, mean in means.items() if name in values}
