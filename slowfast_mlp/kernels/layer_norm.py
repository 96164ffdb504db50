"""Layer norm over the last axis that can be recomputed: [..., C] -> [..., C], in the type of its input.

Statistics are float32 (float64 of such), whatever the input: in bf16 they would spoil the gradient.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from slowfast_mlp.kernels.autocast import disable_autocast


class LayerNormState(NamedTuple):
    """A layer norm's input, statistics and weights: enough to recompute its output, and for its gradients."""

    x: Tensor
    mean: Tensor
    rstd: Tensor
    weight: Tensor
    bias: Tensor
    eps: float


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, LayerNormState]:
    """The normalised x, and what repeats it."""
    if x.device.type != "cpu":
        # GPUs want all of one type, and keep float32 statistics then; a CPU does so for float32 weights.
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    with disable_autocast(x):
        out, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)
    return out, LayerNormState(x.detach(), mean.detach(), rstd.detach(), weight.detach(), bias.detach(), eps)


def recompute_norm(norm: LayerNormState) -> Tensor:
    """The output again."""
    return torch.native_layer_norm(norm.x, norm.x.shape[-1:], norm.weight, norm.bias, norm.eps)[0]


def layer_norm_backward(grad: Tensor, norm: LayerNormState) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of input, weight and bias, for that of the output."""
    x, mean, rstd, weight, bias, _ = norm
    return torch.ops.aten.native_layer_norm_backward(
        grad.to(x.dtype), x, x.shape[-1:], mean, rstd, weight, bias, [True, True, True]
    )
