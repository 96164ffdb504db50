"""The blocks of Mobile-Former (arXiv 2108.05895): Lite, Mobile-Former block and classifier.

Axes: B batch, C channels, T time, H W space, M tokens, D their width. Maps are [B·T, C, H, W], one image a
frame, in channels-last memory. Parameter names are those of the authors' image code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slowfast_mlp.errors import UserError
from slowfast_mlp.layers.cross_attention_bridge import (
    DynamicReLU,
    Former,
    FormerToMobile,
    MobileToFormer,
    flatten_map,
)
from slowfast_mlp.layers.depthwise import DepthwiseConv, TemporalKernel
from slowfast_mlp.layers.fused_conv_bn import ConvBNSequential

HEAD_EXPANSION = 6


class Lite(nn.Module):
    """Depth-wise and linear point-wise convolution without tokens, with a residual where shapes allow."""

    def __init__(
        self, dim: int, out_dim: int, *, hidden_dim: int, stride: int, groups: int, time: TemporalKernel
    ):
        super().__init__()
        self.conv = ConvBNSequential(
            DepthwiseConv(dim, hidden_dim, stride=stride, time=time),
            nn.BatchNorm2d(hidden_dim),
            relu6(),
            _shuffle(dim if groups > 1 else 1),
            _pointwise(hidden_dim, out_dim, groups),
            nn.BatchNorm2d(out_dim),
        )
        self.is_residual = stride == 1 and dim == out_dim

    def forward(self, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[B·T, C, H, W], tokens -> [B·T, C', H', W'], the same tokens."""
        out = self.conv(x)
        return (x + out if self.is_residual else out), tokens


class Block(nn.Module):
    """Mobile-Former block: tokens look at the map, then at each other, steer its convolutions and feed it.

    One width in `hidden_dims` makes the paper's M: point-wise to h, depth-wise, point-wise; skip from the
    input if the width stays. Two make D: depth-wise with stride 2 to h1, point-wise, depth-wise to h2,
    point-wise; skip from the second. A dynamic ReLU follows every convolution to a hidden width.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        *,
        hidden_dims: Sequence[int],
        token_dim: int,
        groups: int,
        time: TemporalKernel,
    ):
        super().__init__()
        is_down = len(hidden_dims) == 2
        first, last = hidden_dims[0], hidden_dims[-1]
        # Convolution, groups of the channel shuffle after it, whether a dynamic ReLU follows.
        if is_down:
            steps = [
                (DepthwiseConv(dim, first, stride=2, time=time), dim, True),
                (_pointwise(first, out_dim, groups), 1, False),
                (DepthwiseConv(out_dim, last, stride=1, time=time), out_dim, True),
                (_pointwise(last, out_dim, groups), 1, False),
            ]
        else:
            steps = [
                (_pointwise(dim, first, groups), groups, True),
                (DepthwiseConv(first, first, stride=1, time=time), 1, True),
                (_pointwise(first, out_dim, groups), groups, False),
            ]
        self.num_convs = len(steps)
        self.skip_from = 2 if is_down else 0 if dim == out_dim else None
        for index, (conv, shuffle_groups, is_active) in enumerate(steps, start=1):
            shuffle = _shuffle(shuffle_groups if groups > 1 else 1)
            unit = ConvBNSequential(conv, nn.BatchNorm2d(conv.out_channels), shuffle)
            self.add_module(f"conv{index}", unit)
            if is_active:
                self.add_module(f"hyper{index}", DynamicReLU(conv.out_channels, token_dim))
        self.local_global = MobileToFormer(dim, token_dim)
        self.global_block = Former(token_dim)
        self.global_local = FormerToMobile(out_dim, token_dim)

    def forward(self, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[B·T, C, H, W], [B, M, D] -> [B·T, C', H', W'], [B, M, D]."""
        tokens = self.global_block(self.local_global(x, tokens))
        skip = x
        for index in range(1, self.num_convs + 1):
            x = getattr(self, f"conv{index}")(x)
            if hasattr(self, f"hyper{index}"):
                x = getattr(self, f"hyper{index}")(x, tokens)
            if index == self.skip_from:
                skip = x
        if self.skip_from is not None:
            x = x + skip
        return self.global_local(x, tokens), tokens


class Classifier(nn.Module):
    """Point-wise convolution, mean over the clip, token 0 next to it, two linear layers."""

    def __init__(
        self, dim: int, *, token_dim: int, fc_dim: int, num_classes: int, groups: int, dropout: float
    ):
        super().__init__()
        hidden_dim = HEAD_EXPANSION * dim
        self.conv = ConvBNSequential(
            _shuffle(groups), _pointwise(dim, hidden_dim, groups), nn.BatchNorm2d(hidden_dim), relu6()
        )
        self.act = nn.Hardswish()
        self.fc = nn.Sequential(
            nn.Linear(hidden_dim + token_dim, fc_dim), nn.BatchNorm1d(fc_dim), nn.Hardswish()
        )
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(fc_dim, num_classes))

    def features(self, x: Tensor, tokens: Tensor) -> Tensor:
        """[B·T, C, H, W], [B, M, D] -> [B, fc_dim]. Raises UserError for one clip in training."""
        if self.training and type(self.fc[1]) is nn.BatchNorm1d and tokens.shape[0] == 1:
            raise UserError(
                "TRAIN.BATCH_SIZE gives a process 1 clip, but Mobile-Former's head has a batch norm over "
                "clips. Use 2 or more for every process."
            )
        pooled = flatten_map(self.conv(x), tokens.shape[0]).mean(dim=1)  # B 6C
        return self.fc(torch.cat([self.act(pooled), tokens[:, 0]], dim=-1))


def _pointwise(dim: int, out_dim: int, groups: int) -> nn.Conv2d:
    return nn.Conv2d(dim, out_dim, 1, groups=groups, bias=False)


def relu6() -> nn.Module:
    """In place: no norm before it needs its output for the gradient."""
    return nn.ReLU6(inplace=True)


def _shuffle(groups: int) -> nn.Module:
    """Channels (g, C/g) -> (C/g, g); the official networks without groups have an empty place here."""
    return nn.ChannelShuffle(groups) if groups > 1 else nn.Identity()
