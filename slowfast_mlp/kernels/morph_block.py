"""MorphMLP's block by fused kernels: fewer passes over memory, and less kept for the backward pass.

Of the time of the authors' formulation, MorphMLP-S takes on an AMD CPU 0.53 forward in fp32, 0.81 in bf16 and
0.63 in a training step in fp32. It keeps less than half of the activations (docs/benchmarks.md).

Axes: B batch, T time, H W space, C channels.
"""

from typing import Any

import torch
from torch import Tensor

from slowfast_mlp.kernels import morph_fc
from slowfast_mlp.kernels.autocast import compute_dtype
from slowfast_mlp.kernels.fused_residual import (
    ResidualLinear,
    ResidualTemporalMix,
    drop_path_scale,
    residual_mlp,
)
from slowfast_mlp.kernels.layer_norm import layer_norm


def can_fuse(block: Any, x: Tensor) -> bool:
    """Whether `morph_block` takes maps [B, T, H, W, C]: if height and chunk length do not divide each other,
    no view of the chunks exists.
    """
    mixer = block.fc
    return all(morph_fc.can_view(order, x.shape, mixer.chunk_len) for order in mixer.orders)


def morph_block(block: Any, x: Tensor) -> Tensor:
    """The forward of models.morphmlp.Block: [B, T, H, W, C] -> [B, T, H, W, C]."""
    x = x.contiguous()
    timed = x
    if block.has_time:
        norm, mixer = block.t_norm1, block.t_fc
        timed = ResidualTemporalMix.apply(
            x, *_parameters(norm, mixer.mlp_t, mixer.proj), norm.eps, mixer.num_groups
        )
    x = _spatial(block.fc, timed, block.norm1, residual=x, scale=drop_path_scale(block.drop_path, x))
    layers, norm = _parameters(block.mlp.fc1, block.mlp.fc2), block.norm2
    return residual_mlp(x, _parameters(norm), layers, scale=drop_path_scale(block.drop_path, x), eps=norm.eps)


def _spatial(mixer: Any, x: Tensor, norm: Any, *, residual: Tensor, scale: Tensor | None) -> Tensor:
    """residual + scale · mixer(norm(x)) for a MorphFC."""
    x, repeat = layer_norm(x, norm.weight, norm.bias, norm.eps)
    x = x.to(compute_dtype(x))
    spatial = [mixer.mlp_h] if mixer.whole_map else [mixer.mlp_h, mixer.mlp_w]
    frame = morph_fc.frame_mean(x)
    pooled = mixer.mlp_c(frame.mean(dim=(1, 2, 3)))
    for order, layer in zip(mixer.orders, spatial):
        means = morph_fc.position_means(frame, order, mixer.chunk_len)
        pooled = pooled + morph_fc.branch_mean(means, layer.weight, layer.bias)
    first, second = mixer.reweight.fc1, mixer.reweight.fc2
    hidden = mixer.reweight.act(ResidualLinear.apply(pooled, first.weight, first.bias))
    gates = mixer.gates(ResidualLinear.apply(hidden, second.weight, second.bias))
    layers = _parameters(*spatial, mixer.mlp_c)
    mixed = morph_fc.GatedBranchSum.apply(x, gates, repeat, mixer.orders, mixer.chunk_len, *layers)
    return ResidualLinear.apply(mixed, mixer.proj.weight, mixer.proj.bias, residual, scale)


def _parameters(*layers: torch.nn.Module) -> list[Tensor]:
    """Weight and bias of every layer, one after the other."""
    return [value for layer in layers for value in (layer.weight, layer.bias)]
