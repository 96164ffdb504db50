"""GELU and the convolution after it as one step of autograd: the activation is recomputed in the backward
pass, so that its output, the largest map of a stem, is not kept.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from slowfast_mlp.kernels.autocast import custom_fwd


class GeluConv(torch.autograd.Function):
    """conv(GELU(x)) of maps or clips, channels first."""

    @staticmethod
    @custom_fwd
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, ...], padding: tuple[int, ...]
    ) -> Tensor:
        """`weight` and `bias` as of nn.Conv2d or nn.Conv3d, without groups or dilation."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        conv = F.conv2d if weight.ndim == 4 else F.conv3d
        hidden = F.gelu(x.to(ctx.dtype))
        return conv(hidden, weight.to(ctx.dtype), bias.to(ctx.dtype), stride=stride, padding=padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        ones, zeros = [1] * len(ctx.stride), [0] * len(ctx.stride)
        x_cast = x.to(ctx.dtype)
        d_hidden, d_weight, d_bias = torch.ops.aten.convolution_backward(
            grad.to(ctx.dtype),
            F.gelu(x_cast),
            weight.to(ctx.dtype),
            [len(weight)],
            ctx.stride,
            ctx.padding,
            ones,
            False,
            zeros,
            1,
            [True, True, True],
        )
        d_x = torch.ops.aten.gelu_backward(d_hidden, x_cast).to(x.dtype)
        return d_x, d_weight.to(weight.dtype), d_bias.to(weight.dtype), None, None
