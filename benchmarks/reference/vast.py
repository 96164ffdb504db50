"""VAST as its equations stand: what the tests and tools/benchmark.py measure the model against. Nothing else
uses it.

Tokens are [B, T, H, W, C]; groups of channels move by slices of a tensor of zeros, the scale and the bias are
steps of their own, and convolutions see the tokens through permuted views. Axes: B batch, C channels, T
time, H W space, K classes.
"""

import copy

import torch
from torch import Tensor, nn

# Axis and step of the groups, in their order; the image model has no time.
MOVES = ((2, 1), (2, -1), (3, 1), (3, -1), (1, 1), (1, -1))


def build(model: nn.Module) -> nn.Module:
    """The plain form of a VAST, with copies of its weights under its names, on its device and in its mode."""
    return PlainVAST(copy.deepcopy(model)).train(model.training)


class PlainVAST(nn.Module):
    """Clips [B, 3, T, H, W] -> logits [B, K]."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.num_stages = len(model.stages())
        for number, (embed, blocks) in enumerate(model.stages(), start=1):
            kind = PlainConvStem if hasattr(embed, "convs") else PlainPatchEmbed
            self.add_module(f"patch_embed{number}", kind(embed))
            self.add_module(f"blocks{number}", nn.ModuleList(map(PlainBlock, blocks)))
        self.norm, self.dropout, self.head = model.norm, model.dropout, model.head

    def forward(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] -> logits [B, K]."""
        x = x.permute(0, 2, 3, 4, 1)  # B T H W C
        for number in range(1, self.num_stages + 1):
            x = getattr(self, f"patch_embed{number}")(x)
            for block in getattr(self, f"blocks{number}"):
                x = block(x)
        return self.head(self.dropout(self.norm(x).mean(dim=(1, 2, 3))))


class PlainPatchEmbed(nn.Module):
    """A convolution of every frame, then LayerNorm."""

    def __init__(self, embed: nn.Module):
        super().__init__()
        self.proj, self.norm = embed.proj, embed.norm

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H', W', C']."""
        return self.norm(_convolved(self.proj, x))


class PlainConvStem(nn.Module):
    """Two convolutions with LayerNorm, GELU between."""

    def __init__(self, stem: nn.Module):
        super().__init__()
        self.convs, self.norms, self.act = stem.convs, stem.norms, nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, 3] -> [B, T, H/4, W/4, C]."""
        x = self.act(self.norms[0](_convolved(self.convs[0], x)))
        return self.norms[1](_convolved(self.convs[1], x))


class PlainBlock(nn.Module):
    """The pre-norm layer."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.norm1, self.mixer = block.norm1, PlainAffineShift(block.mixer)
        self.norm2, self.mlp, self.drop_path = block.norm2, PlainMlp(block.mlp), block.drop_path

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> the same."""
        x = x + self.drop_path(self.mixer(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PlainMlp(nn.Module):
    """Linear, GELU, Linear."""

    def __init__(self, mlp: nn.Module):
        super().__init__()
        self.fc1, self.act, self.fc2 = mlp.fc1, mlp.act, mlp.fc2

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C']."""
        return self.fc2(self.act(self.fc1(x)))


class PlainAffineShift(nn.Module):
    """proj(gate(v) · shift(v) + bias(v)) of v = value(x)."""

    def __init__(self, mixer: nn.Module):
        super().__init__()
        self.num_moves, self.fold, self.is_pooled = len(mixer.steps), mixer.fold, mixer.is_pooled
        self.value, self.proj = mixer.value, mixer.proj
        self.gate = None if mixer.gate is None else PlainMlp(mixer.gate)
        self.bias = mixer.bias

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> the same."""
        values = self.value(x)
        mixed = self._shift(values)
        if self.gate is not None:
            seen = values.mean(dim=(1, 2, 3), keepdim=True) if self.is_pooled else values
            mixed = torch.sigmoid(self.gate(seen)) * mixed
        if self.bias is not None:
            mixed = mixed + _convolved(self.bias.conv, values)
        return self.proj(mixed)

    def _shift(self, x: Tensor) -> Tensor:
        """Group after group by one place along its axis; zeros enter. [B, T, H, W, C] -> the same."""
        out, start = torch.zeros_like(x), 0
        for axis, step in MOVES[: self.num_moves]:
            group = slice(start, start + self.fold)
            length = x.shape[axis] - 1
            source = x[..., group].narrow(axis, 0 if step == 1 else 1, length)
            out[..., group].narrow(axis, 1 if step == 1 else 0, length).copy_(source)
            start += self.fold
        out[..., start:] = x[..., start:]
        return out


def _convolved(conv: nn.Module, x: Tensor) -> Tensor:
    """[B, T, H, W, C] -> [B, T, H', W', C']."""
    if isinstance(conv, nn.Conv3d):
        return conv(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
    frames = conv(x.flatten(0, 1).permute(0, 3, 1, 2))  # BT C' H' W'
    return frames.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])
