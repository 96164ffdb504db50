"""Depth-wise convolution of frames that may see their neighbours in time.

Axes: B batch, C channels, T time, H W space, L frames of a kernel. Maps are [B·T, C, H, W], one image a
frame; in channels-last memory the views of them as clips are no copies.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mlp.kernels.linear import convolution

# Kind of temporal convolution -> standard deviation of its side taps at the start of training. A kernel over
# all three axes learns motion from zero; a separable one needs random side taps to leave the still start.
TEMPORAL_STD = {"dw3d": 0.0, "dw1+2d": 0.5, "none": 0.0}


@dataclass(frozen=True, kw_only=True)
class TemporalKernel:
    """How a depth-wise convolution sees the `num_frames` frames of a clip: see DepthwiseConv."""

    num_frames: int
    kind: str
    kernel_len: int
    std: float


class DepthwiseConv(nn.Conv2d):
    """3 x 3 depth-wise convolution of frames, dim -> a multiple of it, and of their neighbours in time.

    "dw3d": one kernel of L x 3 x 3, of which `weight` is the middle tap and `side_taps` the others. "dw1+2d":
    a kernel of L frames, `time_weight`, before the 3 x 3 one. "none": frames are images.
    """

    def __init__(self, dim: int, out_dim: int, *, stride: int, time: TemporalKernel):
        super().__init__(dim, out_dim, 3, stride=stride, padding=1, groups=dim, bias=False)
        self.time = time
        if time.kind == "dw3d":
            self.side_taps = nn.Parameter(torch.zeros(out_dim, 1, time.kernel_len - 1, 3, 3))
        elif time.kind == "dw1+2d":
            self.time_weight = nn.Parameter(torch.zeros(dim, 1, time.kernel_len, 1))

    def reset_temporal_parameters(self) -> None:
        """Side taps normal of the given standard deviation; the middle tap of `time_weight` one."""
        if self.time.kind == "dw3d":
            nn.init.normal_(self.side_taps, std=self.time.std)
        elif self.time.kind == "dw1+2d":
            nn.init.normal_(self.time_weight, std=self.time.std)
            with torch.no_grad():
                self.time_weight[:, :, self.time.kernel_len // 2] = 1

    def kernel(self) -> Tensor:
        """What the last convolution multiplies with: [C', 1, L, 3, 3] in "dw3d", else [C', 1, 3, 3]."""
        if self.time.kind != "dw3d":
            return self.weight
        before, after = self.side_taps.split(self.time.kernel_len // 2, dim=2)
        return torch.cat([before, self.weight.unsqueeze(2), after], dim=2)

    def forward(self, x: Tensor) -> Tensor:
        """[B·T, C, H, W] -> [B·T, C', H', W']."""
        return self.convolve(x, self.kernel(), None)

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """As `forward`, with a kernel in the place of its own and a bias [C']."""
        if self.time.kind == "none":
            return self._spatial_conv(x, kernel, bias)
        side = self.time.kernel_len // 2
        clips = x.unflatten(0, (-1, self.time.num_frames)).transpose(1, 2)  # B C T H W
        if self.time.kind == "dw1+2d":
            flat = clips.flatten(3)  # B C T (H W): a 2-D convolution with a kernel of L x 1
            timed = F.conv2d(flat, self.time_weight, padding=(side, 0), groups=self.groups)
            timed = timed.transpose(1, 2).flatten(0, 1)  # BT C (H W)
            return self._spatial_conv(timed.unflatten(2, x.shape[2:]), kernel, bias)
        stride, padding = (1, *self.stride), (side, *self.padding)
        out = convolution(clips, kernel, bias, stride=stride, padding=padding, groups=self.groups)
        return out.transpose(1, 2).flatten(0, 1)  # BT C' H' W'

    def _spatial_conv(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        return convolution(x, kernel, bias, stride=self.stride, padding=self.padding, groups=self.groups)
