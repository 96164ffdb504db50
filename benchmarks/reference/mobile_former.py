"""Mobile-Former as one writes it down from the papers: what the tests and tools/benchmark.py measure the
model against. Nothing else uses it.

Clips are [B, C, T, H, W] in that order of memory, convolutions are nn.Conv3d, each followed by its batch
norm; attention splits heads by an axis, transposes keys and ends in a softmax over the last axis; the dynamic
ReLU makes both products. Axes: B batch, C channels, T time, H W space, N = T·H·W, M tokens, D their width, n
heads.
"""

import copy

import torch
from torch import Tensor, nn

from slowfast_mlp.layers.cross_attention_bridge import DynamicReLU, Former, FormerToMobile, MobileToFormer
from slowfast_mlp.layers.depthwise import DepthwiseConv

NUM_HEADS = 2


def build(model: nn.Module) -> nn.Module:
    """The plain form of a MobileFormer, with copies of its weights, on its device and in its mode. Names in
    the state are the model's, but the kernel of a convolution over time, which is one: `weight` [C, 1, L, 3,
    3] in place of middle and side taps, or two convolutions "0" and "1" of "dw1+2d".
    """
    return PlainMobileFormer(copy.deepcopy(model)).train(model.training)


class PlainMobileFormer(nn.Module):
    """Clips [B, 3, T, H, W] -> logits [B, K]."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.tokens = model.tokens
        self.stem = plain(model.stem)
        self.features = nn.ModuleList(
            PlainBlock(block) if hasattr(block, "global_local") else PlainLite(block)
            for block in model.features
        )
        self.local_global = PlainMobileToFormer(model.local_global)
        self.classifier = PlainClassifier(model.classifier)

    def forward(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] -> logits [B, K]."""
        tokens = self.tokens.weight.expand(x.shape[0], -1, -1)  # B M D
        x = self.stem(x)
        for block in self.features:
            x, tokens = block(x, tokens)
        return self.classifier(x, self.local_global(x, tokens))


class PlainLite(nn.Module):
    """Depth-wise and point-wise convolution without tokens."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.conv, self.is_residual = plain(block.conv), block.is_residual

    def forward(self, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, T, H, W], tokens -> [B, C', T, H', W'], the same tokens."""
        out = self.conv(x)
        return (x + out if self.is_residual else out), tokens


class PlainBlock(nn.Module):
    """A block of the kinds M and D."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.num_convs, self.skip_from = block.num_convs, block.skip_from
        for name, child in block.named_children():
            if isinstance(child, DynamicReLU):
                self.add_module(name, PlainDynamicReLU(child))
            elif isinstance(child, MobileToFormer):
                self.add_module(name, PlainMobileToFormer(child))
            elif isinstance(child, Former):
                self.add_module(name, child)
            elif isinstance(child, FormerToMobile):
                self.add_module(name, PlainFormerToMobile(child))
            else:
                self.add_module(name, plain(child))

    def forward(self, x: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, T, H, W], [B, M, D] -> [B, C', T, H', W'], [B, M, D]."""
        tokens = self.global_block(self.local_global(x, tokens))
        kept = x
        for index in range(1, self.num_convs + 1):
            x = getattr(self, f"conv{index}")(x)
            if hasattr(self, f"hyper{index}"):
                x = getattr(self, f"hyper{index}")(x, tokens)
            if index == self.skip_from:
                kept = x
        if self.skip_from is not None:
            x = x + kept
        return self.global_local(x, tokens), tokens


class PlainDynamicReLU(nn.Module):
    """max(a1·x, a2·x), both products made."""

    def __init__(self, layer: DynamicReLU):
        super().__init__()
        self.hyper = layer.hyper

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """[B, C, T, H, W], [B, M, D] -> [B, C, T, H, W]."""
        slopes = 2 * self.hyper(tokens[:, 0])  # B 2C
        first, second = slopes[..., None, None, None].chunk(2, dim=1)  # B C 1 1 1 each
        return torch.max(first * x, (second - 1) * x)


class PlainMobileToFormer(nn.Module):
    """Tokens look at all positions of the clip."""

    def __init__(self, layer: MobileToFormer):
        super().__init__()
        self.alpha, self.q, self.proj, self.layer_norm = layer.alpha, layer.q, layer.proj, layer.layer_norm
        self.scale = layer.scale

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """[B, C, T, H, W], [B, M, D] -> [B, M, D]."""
        B, M, _ = tokens.shape
        queries = self.q(tokens).view(B, M, NUM_HEADS, -1).transpose(1, 2)  # B n M c
        keys = x.flatten(2).unflatten(1, (NUM_HEADS, -1))  # B n c N
        shares = (queries @ keys * self.scale).softmax(dim=-1)  # B n M N
        seen = (shares @ keys.transpose(2, 3)).transpose(1, 2).reshape(B, M, -1)  # B M C
        return self.layer_norm(tokens + self.proj(2 * self.alpha(tokens) * seen))


class PlainFormerToMobile(nn.Module):
    """Every position looks at the tokens."""

    def __init__(self, layer: FormerToMobile):
        super().__init__()
        self.k, self.proj, self.scale = layer.k, layer.proj, layer.scale

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """[B, C, T, H, W], [B, M, D] -> [B, C, T, H, W]."""
        B, M, _ = tokens.shape
        queries = x.flatten(2).unflatten(1, (NUM_HEADS, -1)).transpose(2, 3)  # B n N c
        keys = self.k(tokens).view(B, M, NUM_HEADS, -1).permute(0, 2, 3, 1)  # B n c M
        values = self.proj(tokens).view(B, M, NUM_HEADS, -1).transpose(1, 2)  # B n M c
        shares = (queries @ keys * self.scale).softmax(dim=-1)  # B n N M
        return x + (shares @ values).transpose(2, 3).reshape(x.shape)


class PlainClassifier(nn.Module):
    """The head."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.conv, self.act = plain(head.conv), head.act
        self.fc, self.classifier = head.fc, head.classifier

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """[B, C, T, H, W], [B, M, D] -> logits [B, K]."""
        pooled = self.conv(x).mean(dim=(2, 3, 4))  # B 6C
        return self.classifier(self.fc(torch.cat([self.act(pooled), tokens[:, 0]], dim=-1)))


def plain(layers: nn.Sequential) -> nn.Sequential:
    """The same layers of clips [B, C, T, H, W]."""
    return nn.Sequential(*map(_of_clips, layers))


def _of_clips(layer: nn.Module) -> nn.Module:
    """A layer of images as one of clips, with its weights; activations are of both."""
    if isinstance(layer, nn.BatchNorm2d):
        norm = nn.BatchNorm3d(layer.num_features, eps=layer.eps, momentum=layer.momentum)
        norm.load_state_dict(layer.state_dict())
        return norm.to(layer.weight)
    if not isinstance(layer, nn.Conv2d):
        return layer
    space = layer.weight.unsqueeze(2)  # C' C/g 1 k k
    if isinstance(layer, DepthwiseConv) and layer.time.kind == "dw1+2d":
        time = _conv(layer.time_weight.unsqueeze(4), groups=layer.groups, stride=1)
        return nn.Sequential(time, _conv(space, groups=layer.groups, stride=layer.stride[0]))
    if isinstance(layer, DepthwiseConv) and layer.time.kind == "dw3d":
        before, after = layer.side_taps.chunk(2, dim=2)
        space = torch.cat([before, space, after], dim=2)  # C' 1 L 3 3
    return _conv(space, groups=layer.groups, stride=layer.stride[0])


def _conv(kernel: Tensor, *, groups: int, stride: int) -> nn.Conv3d:
    """A convolution with the kernel [C', C/g, L, k, k] that keeps the number of frames."""
    out_dim, dim, *sizes = kernel.shape
    conv = nn.Conv3d(
        dim * groups, out_dim, sizes, stride=(1, stride, stride), padding=[size // 2 for size in sizes],
        groups=groups, bias=False,
    )  # fmt: skip
    conv.weight = nn.Parameter(kernel.detach().clone())
    return conv
