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

from slowfast_mlp.kernels.autocast import compute_dtype
from slowfast_mlp.kernels.linear import convolution, sum_dtype, takes_wide_bias
from slowfast_mlp.kernels.reference_mode import is_plain
from slowfast_mlp.layers.depthwise import DepthwiseConv
from slowfast_mlp.layers.parameter_cache import Kept


class Folded(NamedTuple):
    """A kernel [C', C/groups, ...] with a norm in it, in the type of the products, and its bias [C'], which
    stays float32 beside one of bf16.
    """

    kernel: Tensor
    bias: Tensor


class FoldedNorm:
    """A batch norm folded into the convolution before it, in float32 or its own wider type, kept as long as
    both stay as they are.
    """

    def __init__(self) -> None:
        self._kept = Kept()

    def of(self, conv: nn.Module, norm: nn.Module, x: Tensor) -> Folded | None:
        """The kernel and bias for `x`; None where both layers are to be called one after the other: in
        training, where a gradient is wanted, for who looks into layers, and for the compiler, which joins the
        norm to what follows.
        """
        is_looked_at = any(layer._forward_hooks or layer._forward_pre_hooks for layer in (conv, norm))
        is_traced = is_plain() or torch.compiler.is_compiling()
        if norm.training or torch.is_grad_enabled() or is_looked_at or is_traced:
            self.drop()
            return None
        dtype = compute_dtype(x)
        if dtype.itemsize < 4 and not takes_wide_bias(x, dtype):
            # A bias of half precision is off by the same amount in all places, which no mean over them takes
            # away: the logits would be further from float32 than with the norm.
            self.drop()
            return None
        sources = [*conv.parameters(), *norm.parameters(), norm.running_mean, norm.running_var]
        return self._kept.get(sources, dtype, lambda: _fold(conv, norm, dtype))

    def drop(self) -> None:
        """Gives the memory back."""
        self._kept.drop()


class NormFolding(nn.Module):
    """A module that calls `normed`; `folded` has one FoldedNorm for every norm that it calls it with."""

    folded: Sequence[FoldedNorm]

    def normed(self, index: int, x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
        """norm(conv(x)), of which `index` is the place in `folded`; for x see `convolve`."""
        folded = self.folded[index].of(conv, norm, x)
        return convolve(conv, x, folded.kernel, folded.bias) if folded else norm(convolve(conv, x))

    def train(self, mode: bool = True) -> "NormFolding":
        """As every module; what is kept for evaluations is given back."""
        for folded in self.folded:
            folded.drop()
        return super().train(mode)


class NormedConvs(NormFolding, nn.Sequential):
    """A sequence of layers over images in which the batch norms of an evaluation are folded."""

    def __init__(self, *layers: nn.Module):
        super().__init__(*layers)
        self.folded = [FoldedNorm() for _ in layers]
        self.has_norm = [
            isinstance(layer, nn.Conv2d) and isinstance(follower, nn.BatchNorm2d)
            for layer, follower in pairwise(layers)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        layers = iter(enumerate(self))
        for index, layer in layers:
            if index < len(self.has_norm) and self.has_norm[index]:
                x = self.normed(index, x, layer, next(layers)[1])
            else:
                x = layer(x)
        return x


def convolve(conv: nn.Module, x: Tensor, kernel: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """What `conv` makes of images [B, C, H, W] or clips [B, C, T, H, W]. A kernel and a bias take the place
    of its own; a kernel over one frame also takes the frames of clips as images.
    """
    if kernel is None and x.ndim == conv.weight.ndim:
        return conv(x)
    if isinstance(conv, DepthwiseConv):
        return conv.convolve(x, kernel, bias)
    kernel, bias = (conv.weight, conv.bias) if kernel is None else (kernel, bias)
    num_axes = x.ndim - 2
    kernel = kernel.squeeze(2) if kernel.ndim > x.ndim else kernel  # C' C/g k k
    geometry = dict(stride=conv.stride[-num_axes:], padding=conv.padding[-num_axes:], groups=conv.groups)
    return convolution(x, kernel, bias, **geometry)


def _fold(conv: nn.Module, norm: nn.Module, dtype: torch.dtype) -> Folded:
    kernel = conv.kernel() if isinstance(conv, DepthwiseConv) else conv.weight
    wide = sum_dtype(kernel)
    mean, variance, weight, bias = (
        value.to(wide) for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    gain = weight * torch.rsqrt(variance + norm.eps)  # C'
    shift = -mean if conv.bias is None else conv.bias.to(wide) - mean
    kernel = kernel.to(wide) * gain.reshape(-1, *[1] * (kernel.ndim - 1))
    return Folded(kernel.to(dtype), gain * shift + bias)
