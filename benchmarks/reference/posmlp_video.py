"""PosMLP-Video as the authors write it: what the tests and tools/benchmark.py measure the model against.
Nothing else uses it.

Convolutions of one frame are three-dimensional; every branch cuts the clip into windows and joins them by
itself, with its own norm and layers; the gate is an einsum over interleaved groups; the map of relative
positions is gathered anew in every pass. Names in the state are the model's.

Axes: B batch, C channels, T time, H W space, n windows, N tokens of one, V channels of a group, G groups.
"""

from collections import OrderedDict
from functools import reduce

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth


def build(model: nn.Module) -> nn.Module:
    """The plain form of a PosMLPVideo, with copies of its weights, on its device and in its mode."""
    with torch.device("meta"):
        plain = Network(model)
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    plain.load_state_dict(state, assign=True)
    for name, parameter in model.named_parameters():
        plain.get_parameter(name).requires_grad_(parameter.requires_grad)
    for unit in plain.modules():
        if isinstance(unit, Position):
            index = row_of_offset(unit.window)
            unit.register_buffer("index", index.to(unit.token_proj_n_bias.device), persistent=False)
    return plain.train(model.training)


class Network(nn.Module):
    """The whole backbone, shaped as `model`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        for number, (embed, blocks) in enumerate(model.stages(), start=1):
            plain = Downsample(embed) if number > 1 else Stem(embed)
            self.add_module(f"patch_embed{number}", plain)
            self.add_module(f"blocks{number}", nn.ModuleList(Block(block) for block in blocks))
        self.num_stages = number
        self.norm = nn.LayerNorm(model.norm.normalized_shape)
        self.head = nn.Linear(model.head.in_features, model.head.out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] -> logits [B, K]."""
        for number in range(1, self.num_stages + 1):
            x = getattr(self, f"patch_embed{number}")(x)  # B T H W C
            for block in getattr(self, f"blocks{number}"):
                x = block(x)
        return self.head(self.norm(x.flatten(1, 3)).mean(dim=1))


class Stem(nn.Module):
    """Two convolutions with BatchNorm."""

    def __init__(self, embed: nn.Module):
        super().__init__()
        self.proj1, self.proj2 = _conv(embed.proj1), _conv(embed.proj2)
        self.norm1 = nn.BatchNorm3d(self.proj1.out_channels)
        self.norm2 = nn.BatchNorm3d(self.proj2.out_channels)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> [B, T, H/4, W/4, C]."""
        x = self.act(self.norm1(self.proj1(x)))
        return self.norm2(self.proj2(x)).permute(0, 2, 3, 4, 1)


class Downsample(nn.Module):
    """A convolution, then LayerNorm."""

    def __init__(self, embed: nn.Module):
        super().__init__()
        self.proj = _conv(embed.proj)
        self.norm = nn.LayerNorm(self.proj.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H/2, W/2, C']."""
        return self.norm(self.proj(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1))


def _conv(conv: nn.Conv3d) -> nn.Conv3d:
    return nn.Conv3d(
        conv.in_channels, conv.out_channels, conv.kernel_size, stride=conv.stride, padding=conv.padding
    )


class Block(nn.Module):
    """Residual steps of one branch or of two."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.steps = block.steps
        for name, branch in block.named_children():
            if name != "drop_path":
                self.add_module(name, nn.Sequential(OrderedDict(encoder=Branch(branch.encoder))))
        self.drop_path = StochasticDepth(block.drop_path.p, mode="row")

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> the same."""
        for step in self.steps:
            x = x + self.drop_path(reduce(torch.add, [getattr(self, name)(x) for name in step]))
        return x


class Branch(nn.Module):
    """Cuts into windows, normalises, widens, gates, narrows, and joins again."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        dim = encoder.fc2.out_features
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 2 * dim)
        self.act = nn.GELU()
        self.gate_unit = Gate(encoder.gate_unit.pos)
        self.fc2 = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> the same."""
        B, T, H, W, C = x.shape
        t, h, w = self.gate_unit.pos.window
        cut = x.reshape(B, T // t, t, H // h, h, W // w, w, C)
        cut = cut.permute(0, 1, 3, 5, 2, 4, 6, 7)  # B T/t H/h W/w t h w C
        tokens = cut.reshape(B, -1, t * h * w, C)  # B n N C
        tokens = self.fc2(self.gate_unit(self.act(self.fc1(self.norm(tokens)))))
        joined = tokens.reshape(cut.shape).permute(0, 1, 4, 2, 5, 3, 6, 7)  # B T/t t H/h h W/w w C
        return joined.reshape(B, T, H, W, C)


class Gate(nn.Module):
    """The first half of the channels, mixed, times the second."""

    def __init__(self, position: nn.Module):
        super().__init__()
        self.pos = Position(position)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, N, 2·C] -> [B, n, N, C]."""
        u, v = x.chunk(2, dim=-1)
        return self.pos(u) * v


class Position(nn.Module):
    """Mixing by a table over relative positions."""

    def __init__(self, position: nn.Module):
        super().__init__()
        self.window = position.window
        table = position.window_relative_position_bias_table
        self.num_groups = table.shape[1]
        self.token_proj_n_bias = nn.Parameter(torch.empty(position.token_proj_n_bias.shape))
        self.window_relative_position_bias_table = nn.Parameter(torch.empty(table.shape))

    def forward(self, u: Tensor) -> Tensor:
        """[B, n, N, C] -> the same."""
        groups = u.unflatten(-1, (-1, self.num_groups))  # B n N V G: channel v·G + g is of group g
        weights = self.window_relative_position_bias_table[self.index]  # N N G
        mixed = torch.einsum("wmns,bwnvs->bwmvs", weights.unsqueeze(0), groups)
        return mixed.flatten(-2) + self.token_proj_n_bias


def row_of_offset(window: tuple[int, int, int]) -> Tensor:
    """The row of the table for tokens m (output) and n (input) of a window: [N, N]."""
    sides = [torch.arange(side) for side in window]
    places = torch.stack(torch.meshgrid(*sides, indexing="ij")).flatten(1)  # 3 N
    row = torch.zeros((), dtype=torch.int64)
    for side, place in zip(window, places):
        row = row * (2 * side - 1) + place[:, None] - place[None, :] + side - 1
    return row
