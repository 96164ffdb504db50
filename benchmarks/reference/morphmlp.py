"""MorphMLP as its authors compute it, in our words: what tools/benchmark.py compares the package's form to.

Every branch makes its own chunks by permuting, the three branches are summed for their mean and once more
with their weights, the residuals are divided by a constant 1, and the convolutions of the embeddings are 3-D
ones over channels-first maps. Axes: B batch, T time, H W space, N = H·W, C channels, G groups, S = C/G
channels of a group, L places in a chunk.
"""

import copy

from torch import Tensor, nn

from slowfast_mlp.models import morphmlp

RESIDUAL_SCALE = 1.0  # the authors' skip_lam, by which both residual branches are divided


def build(model: morphmlp.MorphMLP) -> nn.Module:
    """The same network with a copy of the same weights, under the same names."""
    return PlainMorphMLP(copy.deepcopy(model))


class PlainMorphMLP(nn.Module):
    """Clips [B, 3, T, H, W] -> logits [B, K]."""

    def __init__(self, model: morphmlp.MorphMLP):
        super().__init__()
        self.num_stages = len(model.stages())
        for number, (embed, blocks) in enumerate(model.stages(), start=1):
            self.add_module(
                f"patch_embed{number}", PlainStem(embed) if number == 1 else PlainDownsample(embed)
            )
            self.add_module(f"blocks{number}", nn.ModuleList(PlainBlock(block) for block in blocks))
        self.norm, self.head = model.norm, model.head

    def forward(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] -> logits [B, K]."""
        for number in range(1, self.num_stages + 1):
            x = getattr(self, f"patch_embed{number}")(x)  # B T H W C
            for block in getattr(self, f"blocks{number}"):
                x = block(x)
        x = x.flatten(1, 3)  # B T·N C
        return self.head(self.norm(x).mean(1))


class PlainStem(nn.Module):
    """The two convolutions, channels first."""

    def __init__(self, stem: morphmlp.Stem):
        super().__init__()
        self.video = stem.video
        self.proj1, self.norm1, self.act = stem.proj1, stem.norm1, stem.act
        self.proj2, self.norm2 = stem.proj2, stem.norm2

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> [B, T/2, H/4, W/4, C]."""
        if not self.video:
            x = x.squeeze(2)  # B 3 H W
        x = self.norm2(self.proj2(self.act(self.norm1(self.proj1(x)))))
        return x.permute(0, 2, 3, 4, 1) if self.video else x.permute(0, 2, 3, 1).unsqueeze(1)  # B T H W C


class PlainDownsample(nn.Module):
    """The convolution between two stages, there and back through channels first."""

    def __init__(self, downsample: morphmlp.Downsample):
        super().__init__()
        self.video = downsample.proj.weight.ndim == 5
        self.proj, self.norm = downsample.proj, downsample.norm

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H/2, W/2, C']."""
        if not self.video:
            return self.norm(self.proj(x.squeeze(1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)).unsqueeze(1)
        x = self.proj(x.permute(0, 4, 1, 2, 3))  # B C' T H W
        return self.norm(x.permute(0, 2, 3, 4, 1))


class PlainBlock(nn.Module):
    """Time, space and channels, as in the package's Block."""

    def __init__(self, block: morphmlp.Block):
        super().__init__()
        self.has_time = block.has_time
        if block.has_time:
            self.t_norm1, self.t_fc = block.t_norm1, PlainTemporalMorphFC(block.t_fc)
        self.norm1, self.norm2, self.mlp, self.drop_path = (
            block.norm1,
            block.norm2,
            block.mlp,
            block.drop_path,
        )
        self.fc = PlainWholeMapFC(block.fc) if block.fc.whole_map else PlainMorphFC(block.fc)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        timed = x + self.t_fc(self.t_norm1(x)) if self.has_time else x
        x = x + self.drop_path(self.fc(self.norm1(timed))) / RESIDUAL_SCALE
        return x + self.drop_path(self.mlp(self.norm2(x))) / RESIDUAL_SCALE


class PlainTemporalMorphFC(nn.Module):
    """All positions of time of one place, group by group."""

    def __init__(self, fc: morphmlp.TemporalMorphFC):
        super().__init__()
        self.num_groups = fc.num_groups
        self.mlp_t, self.proj = fc.mlp_t, fc.proj

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        B, T, H, W, C = x.shape
        G, S = self.num_groups, C // self.num_groups
        x = x.reshape(B, T, H, W, G, S).permute(0, 4, 2, 3, 1, 5).reshape(B, G, H, W, T * S)
        x = self.mlp_t(x).reshape(B, G, H, W, T, S).permute(0, 4, 2, 3, 1, 5).reshape(B, T, H, W, C)
        return self.proj(x)


class PlainMorphFC(nn.Module):
    """Height, width and channels, each computed whole, summed twice."""

    def __init__(self, fc: morphmlp.MorphFC):
        super().__init__()
        self.chunk_len = fc.chunk_len
        self.mlp_h, self.mlp_w, self.mlp_c = fc.mlp_h, fc.mlp_w, fc.mlp_c
        self.reweight, self.proj = fc.reweight, fc.proj

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        B, T, H, W, C = x.shape
        L, S, num_chunks = self.chunk_len, C // self.chunk_len, H * W // self.chunk_len
        h = x.transpose(3, 2).reshape(B, T, num_chunks, L, L, S).permute(0, 1, 2, 4, 3, 5)
        h = self.mlp_h(h.reshape(B, T, num_chunks, L, L * S)).reshape(B, T, num_chunks, L, L, S)
        h = h.permute(0, 1, 2, 4, 3, 5).reshape(B, T, W, H, C).transpose(3, 2)  # B T H W C
        w = x.reshape(B, T, num_chunks, L, L, S).permute(0, 1, 2, 4, 3, 5)
        w = self.mlp_w(w.reshape(B, T, num_chunks, L, L * S)).reshape(B, T, num_chunks, L, L, S)
        w = w.permute(0, 1, 2, 4, 3, 5).reshape(B, T, H, W, C)
        c = self.mlp_c(x)
        pooled = (h + w + c).permute(0, 4, 1, 2, 3).flatten(2).mean(2)  # B C
        gates = self.reweight(pooled).reshape(B, C, 3).permute(2, 0, 1).softmax(dim=0)
        gates = gates[:, :, None, None, None]  # 3 B 1 1 1 C
        return self.proj(h * gates[0] + w * gates[1] + c * gates[2])


class PlainWholeMapFC(nn.Module):
    """The last stage's: the map as one chunk, and channels."""

    def __init__(self, fc: morphmlp.MorphFC):
        super().__init__()
        self.chunk_len = fc.chunk_len
        self.mlp_h, self.mlp_c, self.reweight, self.proj = fc.mlp_h, fc.mlp_c, fc.reweight, fc.proj

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        B, T, H, W, C = x.shape
        L, S, num_chunks = self.chunk_len, C // self.chunk_len, H * W // self.chunk_len
        h = x.reshape(B, T, L, num_chunks, L, S).permute(0, 1, 4, 3, 2, 5)
        h = self.mlp_h(h.reshape(B, T, L, num_chunks, L * S)).reshape(B, T, L, num_chunks, L, S)
        h = h.permute(0, 1, 4, 3, 2, 5).reshape(B, T, H, W, C)
        c = self.mlp_c(x)
        pooled = (h + c).permute(0, 4, 1, 2, 3).flatten(2).mean(2)  # B C
        gates = self.reweight(pooled).reshape(B, C, 2).permute(2, 0, 1).softmax(dim=0)
        gates = gates[:, :, None, None, None]  # 2 B 1 1 1 C
        return self.proj(h * gates[0] + c * gates[1])
