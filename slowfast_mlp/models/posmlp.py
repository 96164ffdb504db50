"""PosMLP (Wang et al., ACM MM 2022, arXiv 2207.07284): image backbone of gated units that mix tokens by
relative position.

Axes: B batch, C channels, T = 1 time, H W space, W also the side of a window, N = W² tokens of a window,
G channel groups, r widening, K classes. Parameter names are those of the authors' code, so that their
checkpoints load. The image model inside PosMLP-Video is another one: posmlp_video with one frame.
"""

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from slowfast_mlp.kernels import fused
from slowfast_mlp.kernels.gated_block import Branch, gated_block, mix_branches
from slowfast_mlp.layers.activation_checkpointing import run_block
from slowfast_mlp.layers.clip_size import NUM_STAGES, ClipSizes, check_stage_tables
from slowfast_mlp.layers.fused_conv_bn import ConvBNModule, FusedConvBN
from slowfast_mlp.layers.layer_norm import LayerNormCL
from slowfast_mlp.layers.parameter_cache import CachingModule, ParameterCache
from slowfast_mlp.layers.quadratic_position import QuadraticPosition
from slowfast_mlp.layers.relative_position import GatingUnit, LearnedPosition, WindowSize, check_groups
from slowfast_mlp.layers.windows import by_window, resolve_window_sizes, window_partition, window_reverse

NORM_EPS = 1e-6  # of all norms, batch norms too
ENCODINGS = ("quadratic", "learned")
INDEX_BUFFERS = ("rel_indices", "window_relative_position_index")
# No video model is started from these weights.
NOT_IN_IMAGE_WEIGHTS = ()


class Layer(CachingModule):
    """The only kind of block: x + drop(dropout(proj_c_s(gate(GELU(proj_c_e(norm(x)))))))."""

    def __init__(self, dim: int, *, position: nn.Module, mlp_ratio: int, dropout: float, rate: float):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.proj_c_e = nn.Linear(dim, mlp_ratio * dim)
        self.act = nn.GELU()
        self.gate_unit = GatingUnit(position)
        self.proj_c_s = nn.Linear(mlp_ratio * dim // 2, dim)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = StochasticDepth(rate, mode="row")
        self.caches = [ParameterCache()]

    def forward(self, x: Tensor) -> Tensor:
        """[B, R, 1, N, C] -> the same."""
        if fused.enabled(*self.children()):
            return self._fused(x)
        hidden = self.act(self.proj_c_e(self.norm(x)))  # B R 1 N rC
        mixed = self.proj_c_s(by_window(self.gate_unit, hidden))
        return x + self.drop_path(self.dropout(mixed))

    def _fused(self, x: Tensor) -> Tensor:
        branches = [Branch(self.norm, self.proj_c_e, self.gate_unit.pos, self.proj_c_s)]
        if not (self.dropout.p and self.training):
            return gated_block(x, [branches], self.drop_path, self.caches)
        mixed = mix_branches(x, branches, self.caches[0], scale=None, residual=False)
        return x + self.drop_path(self.dropout(mixed))


class Stem(ConvBNModule):
    """Two convolutions of stride 2 and one over channels, each with BatchNorm: a quarter of the side."""

    def __init__(self, dim: int):
        super().__init__()
        halving = dict(kernel_size=3, stride=2, padding=1)
        self.projs = nn.ModuleList(
            [nn.Conv2d(3, dim // 2, **halving), nn.Conv2d(dim // 2, dim, **halving), nn.Conv2d(dim, dim, 1)]
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(conv.out_channels, eps=NORM_EPS) for conv in self.projs)
        self.act = nn.GELU()
        self.caches = [FusedConvBN() for _ in self.projs]

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 1, H, W] -> [B, 1, H/4, W/4, C]."""
        x = x.squeeze(2)  # B 3 H W
        for index, (conv, norm) in enumerate(zip(self.projs, self.norms)):
            x = self.act(x) if index else x
            x = self.conv_bn(index, x, conv, norm)  # B C/2 H/2 W/2, then B C H/4 W/4
        return x.permute(0, 2, 3, 1).unsqueeze(1)  # B 1 H/4 W/4 C: channels last for the linear layers


class Pool(nn.Module):
    """Depthwise convolution of stride 2 that widens each channel into several, then LayerNorm."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.conv = nn.Conv2d(dim, out_dim, kernel_size=3, stride=2, padding=1, groups=dim)
        self.norm = LayerNormCL(out_dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1, H, W, C] -> [B, 1, H/2, W/2, C']."""
        x = self.conv(x.squeeze(1).permute(0, 3, 1, 2))  # B C' H/2 W/2
        return self.norm(x.permute(0, 2, 3, 1).unsqueeze(1))


class Level(nn.Module):
    """A stage: the pool, but for the first, and its layers; between these tokens stay ordered by window."""

    def __init__(self, pool: nn.Module | None, layers: list[Layer], side: int):
        super().__init__()
        self.side = side
        if pool is not None:
            self.pool = pool
        self.has_pool = pool is not None
        self.encoder = nn.ModuleList(layers)

    def forward(self, x: Tensor, *, recompute: bool = False) -> Tensor:
        """[B, 1, H, W, C] -> [B, 1, H', W', C']; `recompute` as in run_block."""
        x = self.pool(x) if self.has_pool else x
        height = x.shape[2]
        x = window_partition(x, self.side)  # B R 1 N C
        for layer in self.encoder:
            x = run_block(layer, x, recompute=recompute)
        return window_reverse(x, self.side, height)


class PosMLP(nn.Module):
    """PosMLP for pictures of `crop_size` pixels a side, as clips of one frame.

    `encoding`: "quadratic" (the published default) or "learned", a table of relative positions, whose start
    is `table_init` (see LearnedPosition). `num_groups`, one a stage, must divide mlp_ratio · width / 2;
    `windows`, the sides of the square windows, that stage's map (None: 14, 14, 14, 7 if these fit, else the
    same share of the map). `dropout` is that of every layer and of the head. `drop_path` is the rate of the
    last layer; it grows linearly from 0 at the first.

    The widths of B are reconstructed from its published 82 M parameters.

    Raises ValueError that names the argument and the legal values where something does not fit.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        num_frames: int,
        crop_size: int,
        depths: tuple[int, ...],
        dims: tuple[int, ...],
        num_groups: tuple[int, ...] = (8, 16, 32, 64),
        mlp_ratios: tuple[int, ...] = (4, 4, 4, 2),
        windows: tuple[int, ...] | None = None,
        encoding: str = "quadratic",
        table_init: str = "zeros",
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ):
        super().__init__()
        if num_frames != 1:
            raise ValueError(
                f"DATA.NUM_FRAMES {num_frames}: PosMLP takes pictures. Use 1, or MODEL.NAME posmlp_video."
            )
        tables = dict(depths=depths, dims=dims, num_groups=num_groups, mlp_ratios=mlp_ratios, windows=windows)
        check_stage_tables(NUM_STAGES, **tables)
        _check_dims(dims, mlp_ratios)
        check_groups(num_groups, tuple(ratio * dim // 2 for ratio, dim in zip(mlp_ratios, dims)))
        for name, rate in (("dropout", dropout), ("drop_path", drop_path)):
            if not 0 <= rate < 1:
                raise ValueError(f"MODEL.ARGS.{name} {rate}: give a rate from 0 up to, but not, 1.")
        if encoding not in ENCODINGS:
            raise ValueError(f"MODEL.ARGS.encoding {encoding!r}: use one of {', '.join(ENCODINGS)}.")
        self.num_frames = num_frames
        self.crop_size = crop_size
        self.clip_sizes = ClipSizes(num_frames=num_frames, crop_size=crop_size)
        self.num_classes = num_classes
        self.grad_checkpointing = False
        self.patch_embed = Stem(dims[0])
        self.levels = nn.ModuleList()
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        for stage, side in enumerate(resolve_window_sizes(crop_size, windows)):
            dim, groups, ratio = dims[stage], num_groups[stage], mlp_ratios[stage]
            layers = [
                Layer(
                    dim,
                    position=_position((1, side, side), groups, encoding=encoding, table_init=table_init),
                    mlp_ratio=ratio,
                    dropout=dropout,
                    rate=rates.pop(0),
                )
                for _ in range(depths[stage])
            ]
            self.levels.append(Level(Pool(dims[stage - 1], dim) if stage else None, layers, side))
        self.norm = nn.LayerNorm(dims[-1], eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dims[-1], num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def stages(self) -> list[tuple[nn.Module, nn.ModuleList]]:
        """The embedding and the layers of every stage, in the order of the data."""
        embeddings = [level.pool if level.has_pool else self.patch_embed for level in self.levels]
        return [(embed, level.encoder) for embed, level in zip(embeddings, self.levels)]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes the activations of blocks for the gradient instead of storing them, or not."""
        self.grad_checkpointing = enable

    def stage_maps(self, x: Tensor, stage: int) -> Tensor:
        """What the blocks of stage `stage`, from 0, give, [B, R, T, N, C] -> maps [B, T, H, W, C]."""
        return window_reverse(x, self.levels[stage].side, math.isqrt(x.shape[1] * x.shape[3]))

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips [B, 3, 1, H, W] -> what the head sees [B, C], the mean over all normalised tokens."""
        self.clip_sizes.check(x)
        x = self.patch_embed(x)  # B 1 H/4 W/4 C
        for level in self.levels:
            x = level(x, recompute=self.grad_checkpointing)
        return self.dropout(self.norm(x).mean(dim=(1, 2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """Clips [B, 3, 1, H, W], normalised -> logits [B, K]."""
        return self.head(self.forward_features(x))


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights without their index buffers, which the model computes itself."""
    return {name: value for name, value in state.items() if not name.endswith(INDEX_BUFFERS)}


def _position(window: WindowSize, num_groups: int, *, encoding: str, table_init: str) -> nn.Module:
    if encoding == "quadratic":
        return QuadraticPosition(window, num_groups)
    return LearnedPosition(window, num_groups, table_init=table_init)


def _check_dims(dims: tuple[int, ...], mlp_ratios: tuple[int, ...]) -> None:
    if dims[0] % 2 or any(ratio * dim % 2 for ratio, dim in zip(mlp_ratios, dims)):
        raise ValueError(
            f"MODEL.ARGS.dims {list(dims)}: the first width, and mlp_ratio · width of each, must be even."
        )
    if any(out_dim % dim for dim, out_dim in pairwise(dims)):
        raise ValueError(
            f"MODEL.ARGS.dims {list(dims)}: each width must be a multiple of the one before, of which the "
            "pool makes it channel by channel."
        )


MODEL = PosMLP
# T and S are the authors' configs; B is named by them without widths.
VARIANTS = {
    "T": dict(depths=(2, 2, 18, 2), dims=(96, 192, 384, 768)),
    "S": dict(depths=(2, 2, 18, 2), dims=(128, 256, 512, 1024)),
    "B": dict(depths=(2, 2, 18, 2), dims=(192, 384, 768, 1536)),
}
