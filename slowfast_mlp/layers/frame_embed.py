"""Patch embeddings of VAST: convolutions of frames to a smaller map, with layer norm.

Axes: B batch, T time, H W space, C channels.
"""

from functools import partial
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mlp.layers.affine_shift import (
    convolve_frames,
    frame_conv,
)
from slowfast_mlp.layers.layer_norm import LayerNormCL


class PatchEmbed(nn.Module):
    """Convolution of every frame by itself to a smaller map, then LayerNorm."""

    def __init__(self, dim: int, out_dim: int, *, geometry: tuple[int, int, int], norm_eps: float):
        super().__init__()
        kernel_size, stride, padding = geometry
        self.proj = nn.Conv2d(dim, out_dim, kernel_size, stride=stride, padding=padding)
        self.norm = LayerNormCL(out_dim, eps=norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H', W', C']."""
        return self.norm(convolve_frames(self.proj, x))


class ConvStem(nn.Module):
    """The first map by two convolutions of 3x3 places and `kernel_frames` frames, each halving height and
    width, with LayerNorm after both and GELU between.
    """

    def __init__(self, out_dim: int, *, kernel_frames: int, norm_eps: float):
        super().__init__()
        dims = (3, out_dim // 2, out_dim)
        self.convs = nn.ModuleList(
            frame_conv(dim, out, kernel_frames, kernel_size=3, stride=2) for dim, out in pairwise(dims)
        )
        self.norms = nn.ModuleList(LayerNormCL(dim, eps=norm_eps) for dim in dims[1:])

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, 3] -> [B, T, H/4, W/4, C]."""
        first, second = (partial(convolve_frames, conv) for conv in self.convs)
        x = F.gelu(self.norms[0](first(x)))  # B T H/2 W/2 C/2
        return self.norms[1](second(x))
