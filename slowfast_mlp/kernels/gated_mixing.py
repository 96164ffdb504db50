"""The gated token mixing of PosMLP and PosMLP-Video: all branches of a residual at once, channel-major.

What it computes, for z (x normalised, without gain and bias) and branches i with a map A_i and a bias a_i
over the tokens that they mix; models/posmlp_video.py says it branch by branch:

    u_i, v_i = GELU(fc1 · z + fc1_bias)
    out = x + scale · (fc2_bias + sum over i of fc2_i · ((A_i u_i + a_i) · v_i))

Why it is fast. Hidden channels are rows and tokens columns, groups outermost, so that every mixing is one
batched product of contiguous matrices and nothing is permuted. One product widens for all branches and one
narrows. For the gradient z, what GELU gets and what is mixed over space are kept, and all else, mixing over
time alone being cheap, is computed again.

Axes: S sequences (clips and windows of space), T time, N tokens of a window of space, C channels, D mixed
channels of a branch, I branches, G groups, V = D/G, n tokens that are mixed, P tokens that follow each other
in memory inside these, M = S·T·N.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from slowfast_mlp.kernels.autocast import disable_autocast
from slowfast_mlp.kernels.fused_residual import add_residual
from slowfast_mlp.kernels.linear import input_grad, linear, uses_onednn

# On a CPU hidden channels of so many bytes are worked on at a time: they stay in its cache, and memory that
# was just given back is used again. 4 to 16 MiB do alike.
CPU_TILE_BYTES = 4 << 20
NUM_LAYERS = 4  # tensors of Weights before the maps


class Weights(NamedTuple):
    """What the mixing takes besides x. Rows and columns of hidden channels are ordered (half, branch, G, V).

    `fc1` [2·I·D, C], `fc1_bias` [2·I·D], `fc2` [C, I·D], `fc2_bias` [C]; of every branch the map
    [G, n, n] (output, input) and its bias [n].
    """

    fc1: Tensor
    fc1_bias: Tensor
    fc2: Tensor
    fc2_bias: Tensor
    maps: tuple[Tensor, ...]
    map_biases: tuple[Tensor, ...]


class MixingConfig(NamedTuple):
    """What is fixed: P of every branch, whether x is added, and the epsilon of the norm."""

    inner: tuple[int, ...]
    residual: bool
    eps: float


def gated_mixing(x: Tensor, weights: Weights, *, scale: Tensor | None, config: MixingConfig) -> Tensor:
    """[S, T, N, C] -> the same; `scale` [S], or None for 1.

    Products are of the dtype of `weights`, the result is of that of x.
    """
    tensors = (*weights[:NUM_LAYERS], *weights.maps, *weights.map_biases)
    with disable_autocast(x):
        if torch.is_grad_enabled():
            return _GatedMixing.apply(config, scale, x, *tensors)
        size = _tile_size(x, weights)
        if size >= len(x):
            return _forward(x, scale, weights, config)[0]
        whole = torch.empty_like(x, memory_format=torch.contiguous_format)
        for tile, rows in zip(_tiles(x, scale, size), whole.split(size)):
            _forward(*tile, weights, config, into=rows)
        return whole


class _GatedMixing(Function):
    """`gated_mixing` with its gradient; `scale`, which is drawn, gets none."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, config: MixingConfig, scale: Tensor | None, x: Tensor, *tensors: Tensor
    ) -> Tensor:
        """As gated_mixing."""
        weights = _unpack_weights(tensors)
        ctx.config, ctx.num_weights, ctx.tile_size = config, len(tensors), _tile_size(x, weights)
        outs, activations = [], []
        for tile in _tiles(x, scale, ctx.tile_size):
            out, *tile_activations = _forward(*tile, weights, config, save_activations=True)
            outs.append(out)
            activations += tile_activations
        ctx.save_for_backward(scale, *tensors, *activations)
        return _join(outs)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and of the weights."""
        scale, *saved = ctx.saved_tensors
        weights, activations = _unpack_weights(saved[: ctx.num_weights]), saved[ctx.num_weights :]
        tiles = _tiles(grad, scale, ctx.tile_size)
        num_activations = len(activations) // len(tiles)
        outs, sums = [], None
        for number, (part, part_scale) in enumerate(tiles):
            tile_activations = activations[number * num_activations : (number + 1) * num_activations]
            grad_x, grads = _backward(part, part_scale, tile_activations, weights, ctx.config)
            outs.append(grad_x)
            # fp32: the sum over tiles would lose its small terms in half precision.
            sums = grads if sums is None else [a.to(_sum_dtype(a)).add_(b) for a, b in zip(sums, grads)]
        return None, None, _join(outs), *sums


def _forward(
    x: Tensor,
    scale: Tensor | None,
    weights: Weights,
    config: MixingConfig,
    *,
    save_activations: bool = False,
    into: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """[S, T, N, C] -> the result [S, T, N, C]; with `save_activations` also z [M, C], 1 / standard deviation
    [M, 1], what GELU gets [2·I·D, M] and, for every branch, what is mixed [D, M] or, where computing it again
    is cheap, nothing. The result is written `into` that, where given.
    """
    tokens = x.flatten(0, 2)  # M C
    normed, _, rstd = torch.native_layer_norm(tokens, tokens.shape[1:], None, None, config.eps)
    normed = normed.to(weights.fc1.dtype)
    hidden = _apply_fc1(normed, weights)  # 2·I·D M
    active = F.gelu(hidden) if save_activations else torch.ops.aten.gelu_(hidden)
    sources, gates = active.chunk(2)  # I·D M
    mixed = []
    for u, gate, mixer in zip(
        _split_branches(sources, config), _split_branches(gates, config), _mixers(weights, config)
    ):
        mixed.append(_mix_tokens(u, *mixer))
        gate.mul_(mixed[-1])
    gated = gates  # by now
    if scale is None and config.residual and x.dtype == gated.dtype and not uses_onednn(gated):
        rows = None if into is None else into.view(tokens.shape)
        out = torch.add(tokens, weights.fc2_bias, out=rows)
        out = out.addmm_(gated.t(), weights.fc2.t()).view(x.shape)
    else:
        out = linear(gated.t(), weights.fc2, weights.fc2_bias).view(x.shape)
        scale = None if scale is None else scale.to(x.dtype)[:, None, None, None]
        if config.residual and scale is None and into is not None:
            out = torch.add(x, out, out=into)
        else:
            out = add_residual(x, out, scale) if config.residual else _apply_scale(out, scale).to(x.dtype)
            out = out if into is None else into.copy_(out)
    activations = [rows if inner == 1 else None for rows, inner in zip(mixed, config.inner)]
    return (out, normed, rstd, hidden, *activations) if save_activations else (out,)


def _apply_scale(out: Tensor, scale: Tensor | None) -> Tensor:
    return out if scale is None else out * scale


def _apply_fc1(normed: Tensor, weights: Weights) -> Tensor:
    """z [M, C] -> what GELU gets [2·I·D, M]."""
    bias = weights.fc1_bias[:, None]
    if uses_onednn(normed):  # where it is twice as fast that pays for the pass of the bias
        return linear(weights.fc1, normed, None).add_(bias)
    return torch.addmm(bias, weights.fc1, normed.t())


def _backward(
    grad: Tensor, scale: Tensor | None, activations: Sequence[Tensor], weights: Weights, config: MixingConfig
) -> tuple[Tensor, list[Tensor]]:
    """From the gradient of the result [S, T, N, C] and what _forward kept: those of x and of the weights."""
    normed, rstd, hidden, *mixed = activations
    scaled = grad if scale is None else grad * scale.to(grad.dtype)[:, None, None, None]
    scaled = scaled.flatten(0, 2).to(hidden.dtype)  # M C
    active = F.gelu(hidden)
    sources, gates = active.chunk(2)  # I·D M
    grad_gated = linear(weights.fc2.t(), scaled, None)  # I·D M
    grad_active, gated = torch.empty_like(active), torch.empty_like(gates)
    grad_sources, grad_gates = grad_active.chunk(2)
    grad_maps, grad_map_biases = [], []
    for index, mixer in enumerate(_mixers(weights, config)):
        u, v, product, grad_u, grad_v, grad_product = (
            _split_branches(rows, config)[index]
            for rows in (sources, gates, gated, grad_sources, grad_gates, grad_gated)
        )
        mixed_u = mixed[index] if mixed[index] is not None else _mix_tokens(u, *mixer)
        torch.mul(mixed_u, v, out=product)
        torch.mul(mixed_u, grad_product, out=grad_v)
        grad_mixed = grad_product.mul_(v)
        _write_input_grad(grad_u, grad_mixed, *mixer)
        grad_maps.append(_map_grad(grad_mixed, u, *mixer))
        grad_map_biases.append(_as_tokens(grad_mixed, *mixer).sum((0, 1, 3)))
    grad_fc2 = linear(scaled.t(), gated, None)
    grad_hidden = torch.ops.aten.gelu_backward(grad_active, hidden)
    grad_fc1 = linear(grad_hidden, normed.t(), None)
    grad_normed = input_grad(grad_hidden.t(), weights.fc1)  # M C
    grad_tokens, rstd = _norm_grad(grad_normed, normed).view(grad.shape), rstd.view(*grad.shape[:-1], 1)
    grad_x = torch.empty_like(grad)
    if config.residual:
        torch.addcmul(grad, grad_tokens, rstd, out=grad_x)
    else:
        torch.mul(grad_tokens, rstd, out=grad_x)
    return grad_x, [grad_fc1, grad_hidden.sum(1), grad_fc2, scaled.sum(0), *grad_maps, *grad_map_biases]


def _norm_grad(grad: Tensor, normed: Tensor) -> Tensor:
    """The gradient of z, what layer norm gave, for what it took, times the deviation of this: [M, C]."""
    # To the kernel z is the input, whose mean is 0 and whose deviation is 1. It wants these in the input's
    # dtype on a CPU, elsewhere in the one that it adds up in.
    dtype = grad.dtype if grad.device.type == "cpu" else _sum_dtype(grad)
    ones = torch.ones(len(grad), 1, dtype=dtype, device=grad.device)
    output_mask = [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(
        grad, normed, normed.shape[1:], torch.zeros_like(ones), ones, None, None, output_mask
    )[0]


def _mix_tokens(u: Tensor, weight: Tensor, bias: Tensor, inner: int) -> Tensor:
    """A u + a, [D, M] -> the same."""
    tokens = _as_tokens(u, weight, bias, inner)  # G rows n P
    if inner == 1:
        rows = tokens.squeeze(3)  # G rows n
        return torch.baddbmm(bias.expand_as(rows), rows, weight.mT).view(u.shape)
    rows = tokens.flatten(0, 1)  # G·rows n P
    return torch.baddbmm(bias[:, None].expand_as(rows), _expand_map(weight, tokens), rows).view(u.shape)


def _write_input_grad(out: Tensor, grad: Tensor, weight: Tensor, bias: Tensor, inner: int) -> None:
    """Writes the gradient of u, Aᵀ · grad, into `out`: two of [D, M]."""
    out, tokens = (_as_tokens(rows, weight, bias, inner) for rows in (out, grad))
    if inner == 1:
        torch.bmm(tokens.squeeze(3), weight, out=out.squeeze(3))
        return
    torch.bmm(_expand_map(weight.mT, tokens), tokens.flatten(0, 1), out=out.flatten(0, 1))


def _map_grad(grad: Tensor, u: Tensor, weight: Tensor, bias: Tensor, inner: int) -> Tensor:
    """The gradient of the map A: two of [D, M] -> [G, n, n]."""
    grad, tokens = (_as_tokens(rows, weight, bias, inner) for rows in (grad, u))  # G rows n P
    if inner == 1:
        return torch.bmm(grad.squeeze(3).mT, tokens.squeeze(3))
    return torch.matmul(grad, tokens.mT).sum(1)


def _expand_map(weight: Tensor, tokens: Tensor) -> Tensor:
    """The map [G, n, n] for every row of `tokens` [G, rows, n, P]: [G·rows, n, n], small next to these."""
    return weight[:, None].expand(-1, tokens.shape[1], -1, -1).flatten(0, 1)


def _as_tokens(rows: Tensor, weight: Tensor, bias: Tensor, inner: int) -> Tensor:
    """[D, M] -> [G, rows, n, P]: a view."""
    return rows.view(len(weight), -1, len(bias), inner)


def _split_branches(rows: Tensor, config: MixingConfig) -> Sequence[Tensor]:
    """[I·D, M] -> I times [D, M]: views."""
    return rows.chunk(len(config.inner))


def _mixers(weights: Weights, config: MixingConfig) -> list[tuple[Tensor, Tensor, int]]:
    """Map, bias and P of every branch."""
    return list(zip(weights.maps, weights.map_biases, config.inner))


def _unpack_weights(tensors: Sequence[Any]) -> Weights:
    """Weights out of a flat sequence."""
    maps = tensors[NUM_LAYERS:]
    half = len(maps) // 2
    return Weights(*tensors[:NUM_LAYERS], tuple(maps[:half]), tuple(maps[half:]))


def _tile_size(x: Tensor, weights: Weights) -> int:
    """How many of the sequences x [S, T, N, C] are worked on at a time: all, but on a CPU."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return len(x)
    bytes_of_sequence = len(weights.fc1) * x.shape[1] * x.shape[2] * weights.fc1.itemsize
    return max(1, min(len(x), CPU_TILE_BYTES // bytes_of_sequence))


def _tiles(x: Tensor, scale: Tensor | None, size: int) -> list[tuple[Tensor, Tensor | None]]:
    """x [S, T, N, C] and `scale` [S] in parts of `size` sequences."""
    parts = x.split(size)
    return list(zip(parts, [None] * len(parts) if scale is None else scale.split(size)))


def _join(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _sum_dtype(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
