"""What a pre-norm block adds to its input, as single steps of autograd that keep little: the normalised
input, the activation and casts of the weights are recomputed in the backward pass.

Axes: B batch, T time, H W space, N = H·W, C channels, G groups, S = C/G channels of a group.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from slowfast_mlp.kernels.autocast import compute_dtype, custom_fwd, disable_autocast
from slowfast_mlp.kernels.layer_norm import layer_norm, layer_norm_backward
from slowfast_mlp.kernels.linear import input_grad, linear, sum_dtype, weight_grad

# What a perceptron on a CPU has in its hands at once: hidden values that stay in a core's cache, and memory
# that the allocator gives again and again without asking the system for pages.
CPU_TILE_BYTES = 2**21


class ResidualLinear(torch.autograd.Function):
    """residual + scale·linear(x), or linear(x): [..., I] -> [..., O], keeping x and no cast of the weight."""

    @staticmethod
    @custom_fwd
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        residual: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> Tensor:
        """`weight` [O, I], `bias` [O], `residual` [..., O], `scale` one a sample or None for 1."""
        ctx.save_for_backward(x, weight, scale)
        ctx.has_residual = residual is not None
        out = linear(x, weight, bias)
        return out if residual is None else add_residual(residual, out, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        """The gradients of x, weight, bias and residual."""
        x, weight, scale = ctx.saved_tensors
        branch = _branch_grad(grad, scale, x.dtype)
        residual = grad if ctx.has_residual else None
        return input_grad(branch, weight), *_parameter_grads(branch, x, weight), residual, None


def residual_mlp(
    x: Tensor, norm: Sequence[Tensor], layers: Sequence[Tensor], *, scale: Tensor | None, eps: float
) -> Tensor:
    """The output of ResidualMlp, for weight and bias of `norm` and of `layers` one after the other; where
    no gradient is wanted, nothing is kept and a tile's memory serves the next.
    """
    if torch.is_grad_enabled() or scale is not None or torch.compiler.is_compiling():
        return ResidualMlp.apply(x, *norm, *layers, scale, eps)
    dtype = compute_dtype(x)
    weight1, bias1, weight2, bias2 = (value.to(dtype) for value in layers)
    whole = torch.empty_like(x, memory_format=torch.contiguous_format)
    with disable_autocast(x):
        for tile, rows in zip(_tiles(x, len(weight1)), _tiles(whole, len(weight1))):
            normed, _ = layer_norm(tile, *norm, eps)
            hidden = linear(normed.to(dtype), weight1, bias1)
            torch.add(tile, linear(torch.ops.aten.gelu_(hidden), weight2, bias2), out=rows)
    return whole


class ResidualMlp(torch.autograd.Function):
    """x + scale·(layer norm, linear, GELU, linear of x): [..., C] -> [..., C]. Of the insides the input of
    GELU is kept.
    """

    @staticmethod
    @custom_fwd
    def forward(
        ctx: Any,
        x: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        weight1: Tensor,
        bias1: Tensor,
        weight2: Tensor,
        bias2: Tensor,
        scale: Tensor | None,
        eps: float,
    ) -> Tensor:
        """`weight1` [D, C] and `weight2` [C, D] with their biases; `scale` one a sample or None for 1."""
        params = [value.to(ctx.dtype) for value in (weight1, bias1, weight2, bias2)]
        out, hidden_tiles = [], []
        for tile in _tiles(x, len(weight1)):
            normed, _ = layer_norm(tile, norm_weight, norm_bias, eps)
            hidden = linear(normed.to(ctx.dtype), params[0], params[1])
            branch = linear(F.gelu(hidden), params[2], params[3])
            out.append(branch if scale is not None else add_residual(tile, branch, None))
            hidden_tiles.append(hidden)
        ctx.save_for_backward(x, scale, norm_weight, norm_bias, weight1, bias1, weight2, bias2, *hidden_tiles)
        ctx.eps = eps
        whole = _join(out).view(x.shape)
        return whole if scale is None else add_residual(x, whole, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, of the norm's and of both layers' weights."""
        x, scale, norm_weight, norm_bias, weight1, bias1, weight2, bias2, *hidden_tiles = ctx.saved_tensors
        dtype, wide, num_hidden = hidden_tiles[0].dtype, sum_dtype(hidden_tiles[0]), len(weight1)
        first, second = weight1.to(dtype), weight2.to(dtype)
        branch = _branch_grad(grad, scale, dtype)
        d_inputs, sums = [], None
        for tile, d_out, hidden in zip(_tiles(x, num_hidden), _tiles(branch, num_hidden), hidden_tiles):
            normed, norm = layer_norm(tile, norm_weight, norm_bias, ctx.eps)
            normed = normed.to(dtype)
            parts = [d_out.sum(0, dtype=wide), weight_grad(d_out, F.gelu(hidden))]
            d_hidden = torch.ops.aten.gelu_backward(input_grad(d_out, second), hidden)
            parts += [d_hidden.sum(0, dtype=wide), weight_grad(d_hidden, normed)]
            d_input, *d_norm = layer_norm_backward(input_grad(d_hidden, first), norm)
            d_inputs.append(d_input)
            parts += d_norm
            sums = parts if sums is None else [total + part for total, part in zip(sums, parts)]
        d_bias2, d_weight2, d_bias1, d_weight1, d_norm_weight, d_norm_bias = sums
        grads = (d_norm_weight, d_norm_bias, d_weight1, d_bias1, d_weight2, d_bias2)
        params = (norm_weight, norm_bias, weight1, bias1, weight2, bias2)
        d_x = _join(d_inputs).view(x.shape).add_(grad)
        return d_x, *(value.to(parameter.dtype) for value, parameter in zip(grads, params)), None, None


class ResidualTemporalMix(torch.autograd.Function):
    """x + (layer norm, a linear layer over the T positions of time of a group, and one over channels, of x):
    [B, T, H, W, C] -> the same. Of the insides the input of the last layer is kept.
    """

    @staticmethod
    @custom_fwd
    def forward(
        ctx: Any,
        x: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        mix_weight: Tensor,
        mix_bias: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        num_groups: int,
    ) -> Tensor:
        """`mix_weight` [T·S, T·S], `weight` [C, C], with their biases."""
        normed, _ = layer_norm(x, norm_weight, norm_bias, eps)
        mixed = linear(_by_group(normed.to(ctx.dtype), num_groups), mix_weight, mix_bias)
        mixed = _by_time(mixed, x.shape, num_groups)
        ctx.save_for_backward(x, mixed, norm_weight, norm_bias, mix_weight, weight)
        ctx.eps, ctx.num_groups = eps, num_groups
        return add_residual(x, linear(mixed, weight, bias), None)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, of the norm's and of both layers' weights."""
        x, mixed, norm_weight, norm_bias, mix_weight, weight = ctx.saved_tensors
        branch = _branch_grad(grad, None, mixed.dtype)
        d_projection = _parameter_grads(branch, mixed, weight)
        d_mixed = _by_group(input_grad(branch, weight), ctx.num_groups)
        normed, norm = layer_norm(x, norm_weight, norm_bias, ctx.eps)  # with the same statistics
        d_mix = _parameter_grads(d_mixed, _by_group(normed.to(mixed.dtype), ctx.num_groups), mix_weight)
        d_normed = _by_time(input_grad(d_mixed, mix_weight), x.shape, ctx.num_groups)
        d_x, d_norm_weight, d_norm_bias = layer_norm_backward(d_normed, norm)
        d_norm = (d_norm_weight.to(norm_weight.dtype), d_norm_bias.to(norm_bias.dtype))
        return d_x.add_(grad), *d_norm, *d_mix, *d_projection, None, None


def drop_path_scale(drop_path: StochasticDepth, x: Tensor) -> Tensor | None:
    """The factor of every sample's branch [B, 1, ...], drawn as `drop_path` (mode "row") draws it; None where
    no branch is dropped (stochastic depth, Huang et al., 2016).
    """
    if not drop_path.training or not drop_path.p:
        return None
    keep_prob = 1 - drop_path.p
    scale = torch.empty([len(x)] + [1] * (x.ndim - 1), dtype=x.dtype, device=x.device).bernoulli_(keep_prob)
    return scale.div_(keep_prob)


def add_residual(x: Tensor, branch: Tensor, scale: Tensor | None) -> Tensor:
    """x + scale·branch in one pass, in the type of x. May write over `branch`."""
    if scale is not None:
        return torch.addcmul(x, branch.to(x.dtype), scale)
    return branch.add_(x) if branch.dtype == x.dtype else x + branch


def _branch_grad(grad: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """The gradient of the branch in `add_residual`."""
    return (grad if scale is None else grad * scale).to(dtype).contiguous()


def _parameter_grads(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of a linear layer's weight and bias, in the parameters' type."""
    sums = grad.flatten(0, -2).sum(dim=0, dtype=sum_dtype(grad))
    return weight_grad(grad, x).to(weight.dtype), sums.to(weight.dtype)


def _tiles(x: Tensor, num_hidden: int) -> Sequence[Tensor]:
    """The tokens [n, C] of [..., C], all together, or on a CPU as many at once as CPU_TILE_BYTES hold."""
    tokens = x.reshape(-1, x.shape[-1])
    if x.device.type != "cpu" or torch.compiler.is_compiling():  # which makes tiles of its own
        return (tokens,)
    return tokens.split(max(1, CPU_TILE_BYTES // (num_hidden * x.element_size())))


def _join(tiles: list[Tensor]) -> Tensor:
    return tiles[0] if len(tiles) == 1 else torch.cat(tiles)


def _by_group(x: Tensor, num_groups: int) -> Tensor:
    """[B, T, H, W, C] -> [B, N, G, T·S]: one copy."""
    B, T, H, W, C = x.shape
    x = x.view(B, T, H * W, num_groups, C // num_groups).permute(0, 2, 3, 1, 4)  # B N G T S
    return x.reshape(B, H * W, num_groups, -1)


def _by_time(x: Tensor, shape: torch.Size, num_groups: int) -> Tensor:
    """[B, N, G, T·S] -> [B, T, H, W, C]: one copy."""
    B, T, H, W, C = shape
    x = x.view(B, H * W, num_groups, T, C // num_groups).permute(0, 3, 1, 2, 4)  # B T N G S
    return x.reshape(shape)
