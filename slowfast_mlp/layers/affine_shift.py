"""The mixer of VAST and AST: shifts of channel groups that the data scale and bias (arXiv 2208.11108).

Axes: B batch, C channels, T time, H W space.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mlp.layers.mlp import Mlp

# Zeros before and after the axes C, W, H, T, as F.pad takes them; -1 cuts one off. (1, -1) moves a group on:
# out[i] = in[i - 1], out[0] = 0.
SPATIAL_SHIFTS = (
    (0, 0, 0, 0, 1, -1),  # H+
    (0, 0, 0, 0, -1, 1),  # H-
    (0, 0, 1, -1),  # W+
    (0, 0, -1, 1),  # W-
)
TEMPORAL_SHIFTS = (
    (0, 0, 0, 0, 0, 0, 1, -1),  # T+
    (0, 0, 0, 0, 0, 0, -1, 1),  # T-
)


def shift(x: Tensor, fold: int, shifts: Sequence[tuple[int, ...]]) -> Tensor:
    """Moves `fold` channels by each of `shifts`, in their order, and keeps the rest. [B, T, H, W, C] -> the
    same.

    What enters at a border is zero, so on an axis of one position both groups of that axis are zero.
    """
    num_unshifted = x.shape[-1] - fold * len(shifts)
    *groups, unshifted = x.split([fold] * len(shifts) + [num_unshifted], dim=-1)
    return torch.cat([*(F.pad(group, step) for group, step in zip(groups, shifts)), unshifted], dim=-1)


def frame_conv(
    dim: int, out_dim: int, kernel_frames: int, *, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d | nn.Conv3d:
    """A convolution that keeps the number of frames; of one frame it is two-dimensional, as in an image
    model.
    """
    sizes = (kernel_frames, kernel_size, kernel_size)
    padding = tuple(size // 2 for size in sizes)
    if kernel_frames == 1:
        return nn.Conv2d(dim, out_dim, sizes[1:], stride=stride, padding=padding[1:], groups=groups)
    return nn.Conv3d(dim, out_dim, sizes, stride=(1, stride, stride), padding=padding, groups=groups)


def convolve_frames(conv: nn.Module, x: Tensor) -> Tensor:
    """[B, T, H, W, C] -> [B, T, H', W', C'], through channels-last views, which copy nothing."""
    if isinstance(conv, nn.Conv3d):
        x = x.permute(0, 4, 1, 2, 3)  # B C T H W
        if x.shape[2] != 2:
            return conv(x).permute(0, 2, 3, 4, 1)  # B T H' W' C'
        # oneDNN's bf16 gradient of the weights is wrong for two frames that the convolution itself pads
        # (torch 2.15 on a CPU: of the size of the gradient, or not finite).
        around, *padding = conv.padding
        x = F.pad(x, (0, 0, 0, 0, around, around))
        x = F.conv3d(x, conv.weight, conv.bias, conv.stride, (0, *padding), groups=conv.groups)
        return x.permute(0, 2, 3, 4, 1)
    frames = conv(x.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # BT H' W' C'
    return frames.reshape(*x.shape[:2], *frames.shape[1:])


class DepthwiseConvCL(nn.Module):
    """Depthwise convolution over `kernel_size` places a side and `kernel_frames` frames, zeros around."""

    def __init__(self, dim: int, *, kernel_size: int, kernel_frames: int):
        super().__init__()
        self.conv = frame_conv(dim, dim, kernel_frames, kernel_size=kernel_size, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> the same."""
        return convolve_frames(self.conv, x)


class AffineShift(nn.Module):
    """The mixer in the place of attention: proj(gate(v) · shift(v) + bias(v)) of v = value(x).

    Shifts and the affine form are the paper's. Reconstructed: the groups (C // shift_divisor channels a
    step), the gate (sigmoid of a two-layer perceptron), the bias (a depthwise convolution) and `proj`.
    """

    def __init__(
        self,
        dim: int,
        *,
        shifts: Sequence[tuple[int, ...]],
        shift_divisor: int,
        gate: str,
        reduction: int,
        bias_kernel: int | None,
        bias_kernel_frames: int,
        out_proj: bool,
    ):
        super().__init__()
        self.shifts = shifts
        self.fold = dim // shift_divisor
        self.is_pooled = gate == "pooled"
        self.value = nn.Linear(dim, dim)
        self.gate = Mlp(dim, dim // reduction, dim) if gate != "none" else None
        self.bias = None
        if bias_kernel is not None:
            self.bias = DepthwiseConvCL(dim, kernel_size=bias_kernel, kernel_frames=bias_kernel_frames)
        self.proj = nn.Linear(dim, dim) if out_proj else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        values = self.value(x)
        mixed = shift(values, self.fold, self.shifts)
        if self.gate is not None:
            # B 1 1 1 C (one gate a clip) or B T H W C
            gate_input = values.mean(dim=(1, 2, 3), keepdim=True) if self.is_pooled else values
            mixed = mixed * self.gate(gate_input).sigmoid()
        if self.bias is not None:
            mixed = mixed + self.bias(values)
        return self.proj(mixed)
