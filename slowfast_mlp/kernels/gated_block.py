"""Blocks of PosMLP and PosMLP-Video by the kernel for gated mixing, which takes all branches at once.

Of the time of the authors' formulation, PosMLP-Video-S takes on an AMD CPU 0.50 forward in fp32, 0.60 in bf16
and 0.65 in a training step in fp32. It keeps 0.4 of the memory (docs/benchmarks.md).

Axes: B batch, R windows of a frame, T time, N tokens of a window, C channels, D mixed channels, I branches,
G groups, V = D/G.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from slowfast_mlp.kernels.autocast import compute_dtype
from slowfast_mlp.kernels.fused_residual import drop_path_scale
from slowfast_mlp.kernels.gated_mixing import MixingConfig, Weights, gated_mixing


class Branch(NamedTuple):
    """fc2(P(u) · v) with u, v = GELU(fc1(norm(x))); `position` is P, of D interleaved channels."""

    norm: nn.LayerNorm
    fc1: nn.Linear
    position: nn.Module
    fc2: nn.Linear


def gated_block(
    x: Tensor, steps: Sequence[Sequence[Branch]], drop_path: StochasticDepth, caches: Sequence[Any]
) -> Tensor:
    """For every step x + drop_path(sum of the step's branches of x): [B, R, T, N, C] -> the same.

    A step has a ParameterCache of its own.
    """
    for branches, cache in zip(steps, caches):
        x = mix_branches(x, branches, cache, scale=drop_path_scale(drop_path, x), residual=True)
    return x


def mix_branches(
    x: Tensor, branches: Sequence[Branch], cache: Any, *, scale: Tensor | None, residual: bool
) -> Tensor:
    """x + scale · (sum of the branches of x), or the sum alone: [B, R, T, N, C] -> the same.

    `scale` is one a clip, [B, 1, 1, 1, 1]. Branches have one epsilon and one width D. The ParameterCache
    `cache` is of these branches alone.
    """
    dtype = compute_dtype(x)
    weights = cache.get(_parameters(branches), dtype, lambda: fuse_params(branches, dtype))
    num_tokens = x.shape[3]
    # A window (t, h, w) of less space than the map's is of time alone: what lies between its frames is inner.
    inner = tuple(num_tokens // math.prod(branch.position.window[1:]) for branch in branches)
    config = MixingConfig(inner=inner, residual=residual, eps=branches[0].norm.eps)
    if scale is not None:
        scale = scale.flatten().repeat_interleave(x.shape[1])  # BR
    return gated_mixing(x.flatten(0, 1), weights, scale=scale, config=config).view(x.shape)


def fuse_params(branches: Sequence[Branch], dtype: torch.dtype) -> Weights:
    """The parameters of all branches: gains and biases of the norms within `fc1`, groups outermost.

    `dtype` is that of the products.
    """
    num_groups = [branch.position.num_groups for branch in branches]
    # fc1(gain · z + bias) = (fc1 · gain) z + fc1 bias
    fc1 = [branch.fc1.weight * branch.norm.weight for branch in branches]  # 2D C
    fc1_bias = [torch.addmv(b.fc1.bias, b.fc1.weight, b.norm.bias) for b in branches]  # 2D
    fc1, fc1_bias = (
        torch.stack([_groups_first(value, 2, groups) for value, groups in zip(values, num_groups)], dim=1)
        for values in (fc1, fc1_bias)
    )  # 2 I D C, 2 I D
    fc2 = [_groups_first(b.fc2.weight.t(), 1, groups)[0] for b, groups in zip(branches, num_groups)]
    fc2_bias = sum(branch.fc2.bias for branch in branches)
    maps = [branch.position.weights() for branch in branches]
    map_biases = [branch.position.token_proj_n_bias.flatten() for branch in branches]
    tensors = [fc1.flatten(0, 2), fc1_bias.flatten(), torch.cat(fc2).t(), fc2_bias]
    cast = [tensor.to(dtype) for tensor in (*tensors, *maps, *map_biases)]
    maps = cast[len(tensors) :]
    return Weights(*cast[: len(tensors)], tuple(maps[: len(branches)]), tuple(maps[len(branches) :]))


def _groups_first(rows: Tensor, num_parts: int, num_groups: int) -> Tensor:
    """[parts·V·G, ...] -> [parts, G·V, ...]."""
    return rows.unflatten(0, (num_parts, -1, num_groups)).transpose(1, 2).flatten(1, 2)


def _parameters(branches: Sequence[Branch]) -> Iterator[nn.Parameter]:
    for branch in branches:
        for module in branch:
            yield from module.parameters()
