"""The optimiser: who is spared weight decay, who learns slower, and steps that the device leaves out."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.distributed.data_parallel import shard_optimizer

FUSED_DEVICES = ("cuda", "cpu", "mps")  # torch has a fused kernel of every method here

# The embedding and the blocks of every stage of a model, in the order of the data.
Stages = Sequence[tuple[nn.Module, Iterable[nn.Module]]]


def layer_ids(model: nn.Module, stages: Stages) -> dict[str, int]:
    """The layer of every parameter, by its name.

    0 is the first embedding, 1 to N are the blocks, N + 1 is what no stage holds (norms, head). A later
    embedding belongs to the block behind it.
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
    """Parameters of two axes and more with `weight_decay`; biases and norms, all of one axis, without.

    Each group has an `lr_scale`: `layer_decay` to the power of the layers (as `layer_ids` counts them) that
    lie between it and the head.
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


def make_optimizer(
    groups: list[dict[str, Any]],
    *,
    method: str,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    momentum: float,
    dampening: float,
    nesterov: bool,
    fused: bool | None,
    shard: bool,
) -> torch.optim.Optimizer:
    """The optimiser of a key of METHODS over groups of parameters.

    `fused` None is where the device has it: one kernel a group, three times as fast as one an operation.
    With `shard` every rank holds the state of its share of the parameters only.
    """
    device_type = next(p.device.type for group in groups for p in group["params"])
    fused = device_type in FUSED_DEVICES if fused is None else fused
    settings = dict(betas=betas, eps=eps, momentum=momentum, dampening=dampening, nesterov=nesterov)
    kind, names = METHODS[method]
    arguments = {"lr": lr, "fused": fused, **{name: settings[name] for name in names}}
    return shard_optimizer(kind, groups, arguments) if shard else kind(groups, **arguments)


# Method -> its class, and those of the settings that it takes.
METHODS: dict[str, tuple[Callable[..., torch.optim.Optimizer], tuple[str, ...]]] = {
    "adamw": (torch.optim.AdamW, ("betas", "eps")),
    "adam": (torch.optim.Adam, ("betas", "eps")),
    "sgd": (torch.optim.SGD, ("momentum", "dampening", "nesterov")),
}


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Gives every group the learning rate, times its `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def step_unless(optimizer: torch.optim.Optimizer, skip: Tensor) -> None:
    """The optimiser's step, or nothing at all where `skip` [] is true: weights and state stay as they are.

    The device decides, without the host waiting for it, where the optimiser is fused; else the host waits.
    """
    inner = getattr(optimizer, "optim", optimizer)  # of one that is sharded over ranks
    if inner.defaults.get("fused"):
        inner.found_inf = skip.float()  # how fp16 tells a fused optimiser of an overflow
        optimizer.step()
        del inner.found_inf
    elif not skip.item():
        optimizer.step()
