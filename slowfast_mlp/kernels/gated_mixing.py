"""The gated token mixing of PosMLP and PosMLP-Video: all branches of a residual at once, channel-major.

What it computes, for z (x normalised, without gain and bias) and branches i with a map A_i and a bias a_i
over the tokens that they mix; models/posmlp_video.py says it branch by branch:

    u_i, v_i = GELU(widen · z + widen_bias)
    out = x + scale · (narrow_bias + sum over i of narrow_i · ((A_i u_i + a_i) · v_i))

Why it is fast. Hidden channels are rows and tokens columns, groups outermost, so that every mixing is one
batched product of contiguous matrices and nothing is permuted. One product widens for all branches and one
narrows. For the gradient z and what GELU gets are kept, and all else is computed again.

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

# On a CPU hidden channels of so many bytes are worked on at a time: they stay in its cache, and memory that
# was just given back is used again.
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
    if torch.is_grad_enabled():
        return _GatedMixing.apply(form, scale, x, *tensors)
    return _join([_forward(*tile, weights, form)[0] for tile in _tiles(x, scale, weights)])


class _GatedMixing(Function):
    """`gated_mixing` with its gradient; `scale`, which is drawn, gets none."""

    @staticmethod
    def forward(ctx: FunctionCtx, form: Form, scale: Tensor | None, x: Tensor, *tensors: Tensor) -> Tensor:
        """As gated_mixing."""
        weights = _weights(tensors)
        outs, kept = [], []
        for tile in _tiles(x, scale, weights):
            out, normal, hidden, deviation = _forward(*tile, weights, form, keeps=True)
            outs.append(out)
            kept += [normal, hidden, deviation]
        ctx.form, ctx.num_weights = form, len(tensors)
        ctx.save_for_backward(scale, *tensors, *kept)
        return _join(outs)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and of the weights."""
        scale, *saved = ctx.saved_tensors
        weights, kept = _weights(saved[: ctx.num_weights]), saved[ctx.num_weights :]
        outs, sums = [], None
        for number, (part, part_scale) in enumerate(_tiles(grad, scale, weights)):
            own = kept[3 * number : 3 * number + 3]
            grad_x, grads = _backward(part, part_scale, *own, weights, ctx.form)
            outs.append(grad_x)
            # fp32: the sum over tiles would lose its small terms in half precision.
            sums = grads if sums is None else [a.to(_wide(a)).add_(b) for a, b in zip(sums, grads)]
        return None, None, _join(outs), *sums


def _forward(
    x: Tensor, scale: Tensor | None, weights: Weights, form: Form, *, keeps: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """[S, T, N, C] -> the result [S, T, N, C], z [M, C], what GELU gets [2·I·D, M] (if it `keeps` that) and
    1 / the standard deviation [M, 1].
    """
    tokens = x.flatten(0, 2)  # M C
    normal, _, deviation = torch.native_layer_norm(tokens, tokens.shape[1:], None, None, form.eps)
    normal = normal.to(weights.widen.dtype)
    hidden = torch.addmm(weights.widen_bias[:, None], weights.widen, normal.t())  # 2·I·D M
    active = F.gelu(hidden) if keeps else torch.ops.aten.gelu_(hidden)
    sources, gates = active.chunk(2)  # I·D M
    for u, gate, mixer in zip(_branches(sources, form), _branches(gates, form), _mixers(weights, form)):
        gate.mul_(_mixed(u, *mixer))  # becomes what is narrowed
    if scale is None and form.residual and x.dtype == gates.dtype:
        out = (tokens + weights.narrow_bias).addmm_(gates.t(), weights.narrow.t())
        return out.view(x.shape), normal, hidden, deviation
    out = torch.addmm(weights.narrow_bias, gates.t(), weights.narrow.t()).view(x.shape)
    if scale is not None:
        out = out * scale.to(out.dtype)[:, None, None, None]
    return (x + out if form.residual else out.to(x.dtype)), normal, hidden, deviation


def _backward(
    grad: Tensor,
    scale: Tensor | None,
    normal: Tensor,
    hidden: Tensor,
    deviation: Tensor,
    weights: Weights,
    form: Form,
) -> tuple[Tensor, list[Tensor]]:
    """From the gradient of the result [S, T, N, C] and what _forward kept: those of x and of the weights."""
    scaled = grad if scale is None else grad * scale.to(grad.dtype)[:, None, None, None]
    scaled = scaled.flatten(0, 2).to(hidden.dtype)  # M C
    active = F.gelu(hidden)
    grad_gated = torch.mm(weights.narrow.t(), scaled.t())  # I·D M
    sources, gates = active.chunk(2)  # I·D M
    grad_active = torch.empty_like(active)
    grad_sources, grad_gates = grad_active.chunk(2)
    gated = torch.empty_like(gates)
    grad_maps, grad_biases = [], []
    for index, mixer in enumerate(_mixers(weights, form)):
        u, v, of_u, of_v, product, of_product = (
            _branches(rows, form)[index]
            for rows in (sources, gates, grad_sources, grad_gates, gated, grad_gated)
        )
        mixed = _mixed(u, *mixer)
        torch.mul(mixed, v, out=product)
        torch.mul(mixed, of_product, out=of_v)
        of_mixed = of_product.mul_(v)
        of_u.copy_(_mixed_back(of_mixed, *mixer))
        grad_maps.append(_map_gradient(of_mixed, u, *mixer))
        grad_biases.append(_tokens(of_mixed, *mixer).sum((0, 1, 3)))
    grad_hidden = torch.ops.aten.gelu_backward(grad_active, hidden)
    layers = [
        torch.mm(grad_hidden, normal),
        grad_hidden.sum(1),
        torch.mm(scaled.t(), gated.t()),
        scaled.sum(0),
    ]
    grad_normal = torch.mm(grad_hidden.t(), weights.widen)  # M C
    # The layer norm of z has the mean 0 and the deviation 1: its gradient, times 1 / deviation, is that of x.
    ones = torch.ones_like(deviation)
    shape = normal.shape[1:]
    within = torch.ops.aten.native_layer_norm_backward(
        grad_normal, normal, shape, torch.zeros_like(ones), ones, None, None, [True, False, False]
    )[0].view(grad.shape)
    deviation = deviation.view(*grad.shape[:-1], 1)
    grad_x = torch.addcmul(grad, within, deviation) if form.residual else within * deviation
    return grad_x, [*layers, *grad_maps, *grad_biases]


def _mixed(u: Tensor, weight: Tensor, bias: Tensor, inner: int) -> Tensor:
    """A u + a, [D, M] -> the same."""
    tokens = _tokens(u, weight, bias, inner)  # G rows n P
    if inner == 1:
        rows = tokens.squeeze(3)  # G rows n
        return torch.baddbmm(bias.expand_as(rows), rows, weight.mT).view(u.shape)
    return torch.matmul(weight[:, None], tokens).add_(bias[:, None]).view(u.shape)


def _mixed_back(grad: Tensor, weight: Tensor, bias: Tensor, inner: int) -> Tensor:
    """The gradient of u of `_mixed`, [D, M] -> the same."""
    tokens = _tokens(grad, weight, bias, inner)
    if inner == 1:
        return torch.bmm(tokens.squeeze(3), weight).view(grad.shape)
    return torch.matmul(weight.mT[:, None], tokens).view(grad.shape)


def _map_gradient(grad: Tensor, u: Tensor, weight: Tensor, bias: Tensor, inner: int) -> Tensor:
    """The gradient of the map of `_mixed`: two of [D, M] -> [G, n, n]."""
    grad, tokens = (_tokens(rows, weight, bias, inner) for rows in (grad, u))  # G rows n P
    if inner == 1:
        return torch.bmm(grad.squeeze(3).mT, tokens.squeeze(3))
    return torch.matmul(grad, tokens.mT).sum(1)


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


def _tiles(x: Tensor, scale: Tensor | None, weights: Weights) -> list[tuple[Tensor, Tensor | None]]:
    """x [S, T, N, C] and `scale` [S] in parts of whole sequences; on a CPU small ones."""
    num_rows, num_tokens = len(weights.widen), x.shape[1] * x.shape[2]
    size = len(x)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        size = max(1, CPU_TILE_BYTES // (num_rows * num_tokens * weights.widen.itemsize))
    parts = x.split(size)
    return list(zip(parts, [None] * len(parts) if scale is None else scale.split(size)))


def _join(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)
