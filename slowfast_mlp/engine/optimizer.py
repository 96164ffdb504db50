"""The optimizer: weight decay and learning rate per parameter group, and steps that the device skips."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.distributed.data_parallel import shard_optimizer

FUSED_DEVICES = ("cuda", "cpu", "mps")  # torch has a fused kernel of every method here

# The embedding and the blocks of every stage of a model, in the order of the data.
Stages = Sequence[tuple[nn.Module, Iterable[nn.Module]]]


def layer_ids(model: nn.Module, stages: Stages) -> dict[str, int]:
    """The layer of every parameter by name.

    0 is the first embedding, 1 to N are the blocks, and N + 1 is everything outside the stages (norms, head).
    A later embedding belongs to the layer of the block after it.
    """
    layer_of: dict[nn.Parameter, int] = {}
    num_blocks = 0
    for embedding, blocks in stages:
        layer_of |= dict.fromkeys(embedding.parameters(), num_blocks + 1 if num_blocks else 0)
        for block in blocks:
            num_blocks += 1
            layer_of |= dict.fromkeys(block.parameters(), num_blocks)
    return {name: layer_of.get(value, num_blocks + 1) for name, value in model.named_parameters()}


def parameter_groups(
    model: nn.Module, weight_decay: float, *, layer_decay: float = 1.0, stages: Stages = ()
) -> list[dict[str, Any]]:
    """Parameters with two or more axes get `weight_decay`; biases and norms, which have one, get none.

    Each group has an `lr_scale`: `layer_decay` to the power of the number of layers (see `layer_ids`) between
    it and the head.
    """
    ids = layer_ids(model, stages) if layer_decay != 1 else dict.fromkeys(dict(model.named_parameters()), 0)
    groups = []
    for layer in sorted(set(ids.values())):
        parameters = [p for name, p in model.named_parameters() if ids[name] == layer and p.requires_grad]
        lr_scale = layer_decay ** (max(ids.values()) - layer)
        for decay, chosen in (
            (weight_decay, [p for p in parameters if p.ndim >= 2]),
            (0.0, [p for p in parameters if p.ndim < 2]),
        ):
            groups.append({"params": chosen, "weight_decay": decay, "lr_scale": lr_scale})
    return groups


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """An optimizer: `method` is a key of METHODS, which says which of the others it reads.

    `fused` None is True where the device has fused kernels: one per group, three times as fast as one per
    operation.
    """

    method: str
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    fused: bool | None = None


# Method -> its class, and the settings that it reads.
METHODS: dict[str, tuple[Callable[..., torch.optim.Optimizer], tuple[str, ...]]] = {
    "adamw": (torch.optim.AdamW, ("betas", "eps")),
    "adam": (torch.optim.Adam, ("betas", "eps")),
    "sgd": (torch.optim.SGD, ("momentum", "dampening", "nesterov")),
}


def make_optimizer(
    groups: list[dict[str, Any]], settings: OptimizerSettings, *, shard: bool = False
) -> torch.optim.Optimizer:
    """The optimizer of parameter groups; with `shard` every rank holds the state of its share of them."""
    device_type = next(p.device.type for group in groups for p in group["params"])
    fused = device_type in FUSED_DEVICES if settings.fused is None else settings.fused
    kind, names = METHODS[settings.method]
    arguments = {"lr": settings.lr, "fused": fused, **{name: getattr(settings, name) for name in names}}
    return shard_optimizer(kind, groups, arguments) if shard else kind(groups, **arguments)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Gives every group the learning rate, times its `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def step_unless(optimizer: torch.optim.Optimizer, skip: Tensor) -> None:
    """Takes an optimizer step unless `skip` [] is true; then weights and state are unchanged.

    With a fused optimizer the device decides and the host does not wait; otherwise the host waits.
    """
    inner = getattr(optimizer, "optim", optimizer)  # of an optimizer that is sharded over ranks
    if inner.defaults.get("fused"):
        inner.found_inf = skip.float()  # as fp16 loss scaling sets it after an overflow
        optimizer.step()
        del inner.found_inf
    elif not skip.item():
        optimizer.step()
