"""Products of tokens with a weight, in the type of the tokens, and their gradients.

Where a float32 product runs on an x86 processor, oneDNN's kernels are used in place of the BLAS library's: on
processors that are not its maker's, MKL leaves half of their rate unused. torch gives oneDNN convolutions of
1x1 only if their dilation is not 1, which for one place means the same.
"""

import platform

import torch
from torch import Tensor
from torch.nn import functional as F

DILATION = 2
HAS_ONEDNN = torch.backends.mkldnn.is_available() and platform.machine() in ("x86_64", "AMD64", "i386")


def sum_dtype(x: Tensor) -> torch.dtype:
    """The type in which many values of `x` are added up: float32, or float64 of such."""
    return torch.promote_types(x.dtype, torch.float32)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[..., I] x [O, I] + [O] -> [..., O], contiguous, in the type of `x`; weights are cast to it."""
    weight = weight.to(x.dtype)
    bias = None if bias is None else bias.to(x.dtype)
    if not uses_onednn(x):
        return F.linear(x, weight, bias)
    out = F.conv2d(_as_image(x), weight[:, :, None, None], bias, dilation=DILATION)  # 1 O 1 N
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))


def input_grad(grad: Tensor, weight: Tensor) -> Tensor:
    """The gradient of `linear`'s input: [..., O] x [O, I] -> [..., I]."""
    weight = weight.to(grad.dtype)
    return linear(grad, weight.t(), None) if uses_onednn(grad) else grad @ weight


def weight_grad(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient of `linear`'s weight: [..., O] and [..., I] -> [O, I]."""
    if not uses_onednn(grad):
        return grad.flatten(0, -2).t() @ x.flatten(0, -2)
    size = (grad.shape[-1], x.shape[-1], 1, 1)
    product = torch.nn.grad.conv2d_weight(_as_image(x), size, _as_image(grad), dilation=DILATION)
    return product.reshape(size[:2])


def convolution(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    *,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    groups: int,
) -> Tensor:
    """Images [B, C, H, W] or clips [B, C, T, H, W] convolved; the bias [C'] may be float32 where
    `supports_fp32_bias` says so.
    """
    ones = [1] * len(stride)
    if bias is not None and bias.dtype != kernel.dtype:
        x = x.to(kernel.dtype)
        return torch.ops.aten.mkldnn_convolution(x, kernel, bias, padding, stride, ones, groups)
    is_pointwise = max(kernel.shape[2:]) == 1 and kernel.ndim == 4
    dilation = DILATION if is_pointwise and uses_onednn(x) else 1
    conv = F.conv2d if kernel.ndim == 4 else F.conv3d
    return conv(x, kernel, bias, stride, padding, dilation, groups)


def supports_fp32_bias(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether a convolution of `x` in the half precision `dtype` can have a float32 bias: oneDNN's can."""
    is_candidate = HAS_ONEDNN and dtype == torch.bfloat16 and x.device.type == "cpu"
    return is_candidate and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def uses_onednn(x: Tensor) -> bool:
    """Whether the products of `x` are left to oneDNN."""
    is_candidate = HAS_ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu"
    # A compiled or exported network keeps its products as such, and so does one whose products are counted.
    return is_candidate and not (torch.compiler.is_compiling() or torch.jit.is_tracing())


def _as_image(x: Tensor) -> Tensor:
    """[..., C] as an image [1, C, 1, N] of channels last, without a copy."""
    return x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)
