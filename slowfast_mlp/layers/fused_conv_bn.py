"""Batch norms inside the convolutions before them, in an evaluation: the same maps without a pass over them.

With g = weight / sqrt(variance + eps), norm(conv(x)) is a convolution with the kernel g·kernel and the bias
g·(bias - mean) + bias of the norm. Parameters and running statistics stay where they are, so a state knows
nothing of it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from slowfast_mlp.kernels import fused
from slowfast_mlp.kernels.autocast import compute_dtype
from slowfast_mlp.kernels.linear import convolution, sum_dtype, supports_fp32_bias
from slowfast_mlp.layers.depthwise import DepthwiseConv
from slowfast_mlp.layers.parameter_cache import CachingModule, ParameterCache


class FusedConv(NamedTuple):
    """A kernel [C', C/groups, ...] with a norm in it, in the type of the products, and its bias [C'], which
    stays float32 next to one of bf16.
    """

    kernel: Tensor
    bias: Tensor


class FusedConvBN:
    """A batch norm fused into the convolution before it, in float32 or its own wider type, kept as long as
    both stay as they are.
    """

    def __init__(self) -> None:
        self._cache = ParameterCache()

    def get(self, conv: nn.Module, norm: nn.Module, x: Tensor) -> FusedConv | None:
        """The kernel and bias for `x`; None where both layers are to be called one after the other: in
        training, where a gradient is wanted, for who looks into layers, and for the compiler, which joins the
        norm to what follows.
        """
        is_fused = not torch.compiler.is_compiling() and fused.enabled(conv, norm)
        if norm.training or torch.is_grad_enabled() or not is_fused:
            self.clear()
            return None
        dtype = compute_dtype(x)
        if dtype.itemsize < 4 and not supports_fp32_bias(x, dtype):
            # A bias of half precision is off by the same amount in all places, which no mean over them takes
            # away: the logits would be further from float32 than with the norm.
            self.clear()
            return None
        sources = [*conv.parameters(), *norm.parameters(), norm.running_mean, norm.running_var]
        return self._cache.get(sources, dtype, lambda: _fuse(conv, norm, dtype))

    def clear(self) -> None:
        """Gives the memory back."""
        self._cache.clear()


class ConvBNModule(CachingModule):
    """A module that calls `conv_bn`; `caches` has one FusedConvBN for every norm that it calls it with."""

    caches: Sequence[FusedConvBN]

    def conv_bn(self, index: int, x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
        """norm(conv(x)), whose place in `caches` is `index`; for x see `convolve`."""
        fused = self.caches[index].get(conv, norm, x)
        return convolve(conv, x, fused.kernel, fused.bias) if fused else norm(convolve(conv, x))


class ConvBNSequential(ConvBNModule, nn.Sequential):
    """A sequence of layers over images in which the batch norms of an evaluation are fused."""

    def __init__(self, *layers: nn.Module):
        super().__init__(*layers)
        self.caches = [FusedConvBN() for _ in layers]
        self.has_norm = [
            isinstance(layer, nn.Conv2d) and isinstance(follower, nn.BatchNorm2d)
            for layer, follower in pairwise(layers)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        layers = iter(enumerate(self))
        for index, layer in layers:
            if index < len(self.has_norm) and self.has_norm[index]:
                x = self.conv_bn(index, x, layer, next(layers)[1])
            else:
                x = layer(x)
        return x


def convolve(conv: nn.Module, x: Tensor, kernel: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """What `conv` makes of images [B, C, H, W] or clips [B, C, T, H, W]. A kernel and a bias take the place
    of its own; a kernel over one frame also takes the frames of clips as images.
    """
    if kernel is None and x.ndim == conv.weight.ndim:
        return conv(x)
    if kernel is None and (conv._forward_hooks or conv._forward_pre_hooks):
        return conv(x.unsqueeze(2)).squeeze(2)
    if isinstance(conv, DepthwiseConv):
        return conv.convolve(x, kernel, bias)
    kernel, bias = (conv.weight, conv.bias) if kernel is None else (kernel, bias)
    num_axes = x.ndim - 2
    kernel = kernel.squeeze(2) if kernel.ndim > x.ndim else kernel  # C' C/g k k
    geometry = dict(stride=conv.stride[-num_axes:], padding=conv.padding[-num_axes:], groups=conv.groups)
    return convolution(x, kernel, bias, **geometry)


def _fuse(conv: nn.Module, norm: nn.Module, dtype: torch.dtype) -> FusedConv:
    kernel = conv.kernel() if isinstance(conv, DepthwiseConv) else conv.weight
    wide = sum_dtype(kernel)
    mean, variance, weight, bias = (
        value.to(wide) for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    gain = weight * torch.rsqrt(variance + norm.eps)  # C'
    shift = -mean if conv.bias is None else conv.bias.to(wide) - mean
    kernel = kernel.to(wide) * gain.reshape(-1, *[1] * (kernel.ndim - 1))
    return FusedConv(kernel.to(dtype), gain * shift + bias)
