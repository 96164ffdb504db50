"""The gated token mixing of PosMLP and PosMLP-Video: all branches of a residual at once, channel-major.

What it computes, for z (x normalised, without gain and bias) and branches i with a map A_i and a bias a_i
over the tokens that they mix; models/posmlp_video.py says it branch by branch:

    u_i, v_i = GELU(widen · z + widen_bias)
    out = x + scale · (narrow_bias + sum over i of narrow_i · ((A_i u_i + a_i) · v_i))

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

from slowfast_mlp.kernels.autocast import without_autocast
from slowfast_mlp.kernels.fused_residual import add_branch
from slowfast_mlp.kernels.linear import by_onednn, input_grad, linear

# On a CPU hidden channels of so many bytes are worked on at a time: they stay in its cache, and memory that
# was just given back is used again. 4 to 16 MiB do alike.
CPU_TILE_BYTES = 4 << 20
NUM_LAYERS = 4  # tensors of Weights before the maps


class Weights(NamedTuple):
    """What the mixing takes besides x. Rows and columns of hidden channels are ordered (half, branch, G, V).

    `widen` [2·I·D, C], `widen_bias` [2·I·D], `narrow` [C, I·D], `narrow_bias` [C]; of every branch the map
    [G, n, n] (output, input) and its bias [n].
    """

    widen: Tensor
    widen_bias: Tensor
    narrow: Tensor
    narrow_bias: Tensor
    maps: tuple[Tensor, ...]
    map_biases: tuple[Tensor, ...]


class Form(NamedTuple):
    """What is fixed: P of every branch, whether x is added, and the epsilon of the norm."""

    inner: tuple[int, ...]
    residual: bool
    eps: float


def gated_mixing(x: Tensor, weights: Weights, *, scale: Tensor | None, form: Form) -> Tensor:
    """[S, T, N, C] -> the same; `scale` [S], or None for 1.

    Products are of the dtype of `weights`, the result is of that of x.
    """
    tensors = (*weights[:NUM_LAYERS], *weights.maps, *weights.map_biases)
    with without_autocast(x):
        if torch.is_grad_enabled():
            return _GatedMixing.apply(form, scale, x, *tensors)
        size = _tile_size(x, weights)
        if size >= len(x):
            return _forward(x, scale, weights, form)[0]
        whole = torch.empty_like(x, memory_format=torch.contiguous_format)
        for tile, rows in zip(_tiles(x, scale, size), whole.split(size)):
            _forward(*tile, weights, form, into=rows)
        return whole


class _GatedMixing(Function):
    """`gated_mixing` with its gradient; `scale`, which is drawn, gets none."""

    @staticmethod
    def forward(ctx: FunctionCtx, form: Form, scale: Tensor | None, x: Tensor, *tensors: Tensor) -> Tensor:
        """As gated_mixing."""
        weights = _weights(tensors)
        ctx.form, ctx.num_weights, ctx.tile_size = form, len(tensors), _tile_size(x, weights)
        outs, kept = [], []
        for tile in _tiles(x, scale, ctx.tile_size):
            out, *own = _forward(*tile, weights, form, keeps=True)
            outs.append(out)
            kept += own
        ctx.save_for_backward(scale, *tensors, *kept)
        return _join(outs)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and of the weights."""
        scale, *saved = ctx.saved_tensors
        weights, kept = _weights(saved[: ctx.num_weights]), saved[ctx.num_weights :]
        tiles = _tiles(grad, scale, ctx.tile_size)
        num_kept = len(kept) // len(tiles)
        outs, sums = [], None
        for number, (part, part_scale) in enumerate(tiles):
            own = kept[number * num_kept : (number + 1) * num_kept]
            grad_x, grads = _backward(part, part_scale, own, weights, ctx.form)
            outs.append(grad_x)
            # fp32: the sum over tiles would lose its small terms in half precision.
            sums = grads if sums is None else [a.to(_wide(a)).add_(b) for a, b in zip(sums, grads)]
        return None, None, _join(outs), *sums


def _forward(
    x: Tensor,
    scale: Tensor | None,
    weights: Weights,
    form: Form,
    *,
    keeps: bool = False,
    into: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """[S, T, N, C] -> the result [S, T, N, C]; if it `keeps` them also z [M, C], 1 / the standard deviation
    [M, 1], what GELU gets [2·I·D, M] and, for every branch, what is mixed [D, M] or, where computing it again
    is cheap, nothing. The result is written `into` that, where given.
    """
    tokens = x.flatten(0, 2)  # M C
    normal, _, inverse = torch.native_layer_norm(tokens, tokens.shape[1:], None, None, form.eps)
    normal = normal.to(weights.widen.dtype)
    hidden = _widened(normal, weights)  # 2·I·D M
    active = F.gelu(hidden) if keeps else torch.ops.aten.gelu_(hidden)
    sources, gates = active.chunk(2)  # I·D M
    mixed = []
    for u, gate, mixer in zip(_branches(sources, form), _branches(gates, form), _mixers(weights, form)):
        mixed.append(_mixed(u, *mixer))
        gate.mul_(mixed[-1])
    gated = gates  # by now
    if scale is None and form.residual and x.dtype == gated.dtype and not by_onednn(gated):
        rows = None if into is None else into.view(tokens.shape)
        out = torch.add(tokens, weights.narrow_bias, out=rows)
        out = out.addmm_(gated.t(), weights.narrow.t()).view(x.shape)
    else:
        out = linear(gated.t(), weights.narrow, weights.narrow_bias).view(x.shape)
        scale = None if scale is None else scale.to(x.dtype)[:, None, None, None]
        if form.residual and scale is None and into is not None:
            out = torch.add(x, out, out=into)
        else:
            out = add_branch(x, out, scale) if form.residual else _scaled(out, scale).to(x.dtype)
            out = out if into is None else into.copy_(out)
    kept = [rows if inner == 1 else None for rows, inner in zip(mixed, form.inner)]
    return (out, normal, inverse, hidden, *kept) if keeps else (out,)


def _scaled(out: Tensor, scale: Tensor | None) -> Tensor:
    return out if scale is None else out * scale


def _widened(normal: Tensor, weights: Weights) -> Tensor:
    """z [M, C] -> what GELU gets [2·I·D, M]."""
    bias = weights.widen_bias[:, None]
    if by_onednn(normal):  # where it is twice as fast that pays for the pass of the bias
        return linear(weights.widen, normal, None).add_(bias)
    return torch.addmm(bias, weights.widen, normal.t())


def _backward(
    grad: Tensor, scale: Tensor | None, kept: Sequence[Tensor], weights: Weights, form: Form
) -> tuple[Tensor, list[Tensor]]:
    """From the gradient of the result [S, T, N, C] and what _forward kept: those of x and of the weights."""
    normal, inverse, hidden, *mixed = kept
    scaled = grad if scale is None else grad * scale.to(grad.dtype)[:, None, None, None]
    scaled = scaled.flatten(0, 2).to(hidden.dtype)  # M C
    active = F.gelu(hidden)
    sources, gates = active.chunk(2)  # I·D M
    of_gated = linear(weights.narrow.t(), scaled, None)  # I·D M
    of_active, gated = torch.empty_like(active), torch.empty_like(gates)
    of_sources, of_gates = of_active.chunk(2)
    of_maps, of_map_biases = [], []
    for index, mixer in enumerate(_mixers(weights, form)):
        u, v, product, of_u, of_v, of_product = (
            _branches(rows, form)[index] for rows in (sources, gates, gated, of_sources, of_gates, of_gated)
        )
        of_tokens = mixed[index] if mixed[index] is not None else _mixed(u, *mixer)
        torch.mul(of_tokens, v, out=product)
        torch.mul(of_tokens, of_product, out=of_v)
        of_mixed = of_product.mul_(v)
        _put_unmixed(of_u, of_mixed, *mixer)
        of_maps.append(_map_gradient(of_mixed, u, *mixer))
        of_map_biases.append(_tokens(of_mixed, *mixer).sum((0, 1, 3)))
    of_narrow = linear(scaled.t(), gated, None)
    of_hidden = torch.ops.aten.gelu_backward(of_active, hidden)
    of_widen = linear(of_hidden, normal.t(), None)
    of_normal = input_grad(of_hidden.t(), weights.widen)  # M C
    within, inverse = _norm_gradient(of_normal, normal).view(grad.shape), inverse.view(*grad.shape[:-1], 1)
    of_x = torch.empty_like(grad)
    if form.residual:
        torch.addcmul(grad, within, inverse, out=of_x)
    else:
        torch.mul(within, inverse, out=of_x)
    return of_x, [of_widen, of_hidden.sum(1), of_narrow, scaled.sum(0), *of_maps, *of_map_biases]


def _norm_gradient(grad: Tensor, normal: Tensor) -> Tensor:
    """The gradient of z, what layer norm gave, for what it took, times the deviation of this: [M, C]."""
    # To the kernel z is the input, whose mean is 0 and whose deviation is 1. It wants these in the input's
    # dtype on a CPU, elsewhere in the one that it adds up in.
    dtype = grad.dtype if grad.device.type == "cpu" else _wide(grad)
    ones = torch.ones(len(grad), 1, dtype=dtype, device=grad.device)
    wanted = [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(
        grad, normal, normal.shape[1:], torch.zeros_like(ones), ones, None, None, wanted
    )[0]


def _mixed(u: Tensor, weight: Tensor, bias: Tensor, inner: int) -> Tensor:
    """A u + a, [D, M] -> the same."""
    tokens = _tokens(u, weight, bias, inner)  # G rows n P
    if inner == 1:
        rows = tokens.squeeze(3)  # G rows n
        return torch.baddbmm(bias.expand_as(rows), rows, weight.mT).view(u.shape)
    rows = tokens.flatten(0, 1)  # G·rows n P
    return torch.baddbmm(bias[:, None].expand_as(rows), _repeated(weight, tokens), rows).view(u.shape)


def _put_unmixed(out: Tensor, grad: Tensor, weight: Tensor, bias: Tensor, inner: int) -> None:
    """Writes the gradient of u, Aᵀ · grad, into `out`: two of [D, M]."""
    out, tokens = (_tokens(rows, weight, bias, inner) for rows in (out, grad))
    if inner == 1:
        torch.bmm(tokens.squeeze(3), weight, out=out.squeeze(3))
        return
    torch.bmm(_repeated(weight.mT, tokens), tokens.flatten(0, 1), out=out.flatten(0, 1))


def _map_gradient(grad: Tensor, u: Tensor, weight: Tensor, bias: Tensor, inner: int) -> Tensor:
    """The gradient of the map A: two of [D, M] -> [G, n, n]."""
    grad, tokens = (_tokens(rows, weight, bias, inner) for rows in (grad, u))  # G rows n P
    if inner == 1:
        return torch.bmm(grad.squeeze(3).mT, tokens.squeeze(3))
    return torch.matmul(grad, tokens.mT).sum(1)


def _repeated(weight: Tensor, tokens: Tensor) -> Tensor:
    """The map [G, n, n] for every row of `tokens` [G, rows, n, P]: [G·rows, n, n], small beside these."""
    return weight[:, None].expand(-1, tokens.shape[1], -1, -1).flatten(0, 1)


def _tokens(rows: Tensor, weight: Tensor, bias: Tensor, inner: int) -> Tensor:
    """[D, M] -> [G, rows, n, P]: a view."""
    return rows.view(len(weight), -1, len(bias), inner)


def _branches(rows: Tensor, form: Form) -> Sequence[Tensor]:
    """[I·D, M] -> I times [D, M]: views."""
    return rows.chunk(len(form.inner))


def _mixers(weights: Weights, form: Form) -> list[tuple[Tensor, Tensor, int]]:
    """Map, bias and P of every branch."""
    return list(zip(weights.maps, weights.map_biases, form.inner))


def _weights(tensors: Sequence[Any]) -> Weights:
    """Weights out of a flat sequence."""
    maps = tensors[NUM_LAYERS:]
    half = len(maps) // 2
    return Weights(*tensors[:NUM_LAYERS], tuple(maps[:half]), tuple(maps[half:]))


def _tile_size(x: Tensor, weights: Weights) -> int:
    """How many of the sequences x [S, T, N, C] are worked on at a time: all, but on a CPU."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return len(x)
    bytes_of_sequence = len(weights.widen) * x.shape[1] * x.shape[2] * weights.widen.itemsize
    return max(1, min(len(x), CPU_TILE_BYTES // bytes_of_sequence))


def _tiles(x: Tensor, scale: Tensor | None, size: int) -> list[tuple[Tensor, Tensor | None]]:
    """x [S, T, N, C] and `scale` [S] in parts of `size` sequences."""
    parts = x.split(size)
    return list(zip(parts, [None] * len(parts) if scale is None else scale.split(size)))


def _join(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
