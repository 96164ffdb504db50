"""PosMLP-Video (Hao et al., IJCV 2024, arXiv 2407.02934): video backbone that mixes tokens by learned tables
of relative positions.

Axes: B batch, C channels, T time, H W space, W also the side of a window, K classes. Parameter names are
those of the authors' code, so that their checkpoints load. "Official" in this file means that code; it holds
the parallel block alone, so the other three block types are reconstructed.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from slowfast_mlp.kernels import fused
from slowfast_mlp.kernels.gated_block import Branch, gated_block
from slowfast_mlp.layers.activation_checkpointing import run_block
from slowfast_mlp.layers.clip_size import NUM_STAGES, ClipSizes, check_stage_tables, clips_to_frames
from slowfast_mlp.layers.fused_conv_bn import ConvBNModule, FusedConvBN, convolve
from slowfast_mlp.layers.inflate import inflate_weights
from slowfast_mlp.layers.layer_norm import LayerNormCL
from slowfast_mlp.layers.parameter_cache import CachingModule, ParameterCache
from slowfast_mlp.layers.relative_position import (
    GatingUnit,
    LearnedPosition,
    WindowSize,
    check_groups,
    resample_positions,
)
from slowfast_mlp.layers.windows import (
    by_window,
    resolve_window_sizes,
    temporal_windows,
    window_partition,
    window_reverse,
)

# Block type -> its steps, each the sum of the branches named: fc mixes space, t_fc time. In "joint" fc mixes
# both at once. "parallel" is the released one.
BLOCKS = {
    "parallel": (("fc", "t_fc"),),
    "t_then_s": (("t_fc",), ("fc",)),
    "s_then_t": (("fc",), ("t_fc",)),
    "joint": (("fc",),),
}
# Parts of parameter names that an image checkpoint does not hold: the video model keeps what it was built
# with.
NOT_IN_IMAGE_WEIGHTS = (".t_fc.",)


class GatedMlp(nn.Module):
    """LayerNorm, widening, GELU, gating, narrowing: fc2(P(u) · v) with u, v = GELU(fc1(norm(x)))."""

    def __init__(self, dim: int, position: LearnedPosition):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 2 * dim)
        self.act = nn.GELU()
        self.gate_unit = GatingUnit(position)
        self.fc2 = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        return self.fc2(self.gate_unit(self.act(self.fc1(self.norm(x)))))

    def branch(self) -> Branch:
        """The layers as the fused kernel takes them."""
        return Branch(self.norm, self.fc1, self.gate_unit.pos, self.fc2)


class Block(CachingModule):
    """The steps of a block type, each a residual: x + drop(sum of the step's branches of x).

    `windows`: the window that each branch mixes. Branches absent from it are left out, and steps without a
    branch with them; so an image model has fc alone, whatever the type.
    """

    def __init__(
        self,
        dim: int,
        *,
        block: str,
        windows: dict[str, WindowSize],
        num_groups: int,
        table_init: str,
        rate: float,
    ):
        super().__init__()
        steps = (tuple(name for name in step if name in windows) for step in BLOCKS[block])
        self.steps = tuple(step for step in steps if step)
        for name, window in windows.items():
            position = LearnedPosition(window, num_groups, table_init=table_init)
            self.add_module(name, nn.Sequential(OrderedDict(encoder=GatedMlp(dim, position))))
        self.drop_path = StochasticDepth(rate, mode="row")
        self.caches = [ParameterCache() for _ in self.steps]

    def forward(self, x: Tensor) -> Tensor:
        """[B, R, T, N, C] -> the same."""
        if fused.enabled(*self.children()):
            return gated_block(x, self._branches(), self.drop_path, self.caches)
        for step in self.steps:
            x = x + self.drop_path(sum(by_window(getattr(self, name), x) for name in step))
        return x

    def _branches(self) -> list[list[Branch]]:
        """The layers of the branches of every step."""
        return [[getattr(self, name).encoder.branch() for name in step] for step in self.steps]


class Stem(ConvBNModule):
    """Two convolutions of stride 2 over every frame: a quarter of the side, all of the frames."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj1 = _halving_conv(3, dim // 2)
        self.norm1 = nn.BatchNorm2d(dim // 2)
        self.act = nn.GELU()
        self.proj2 = _halving_conv(dim // 2, dim)
        self.norm2 = nn.BatchNorm2d(dim)
        self.caches = (FusedConvBN(), FusedConvBN())

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> [B, T, H/4, W/4, C]."""
        B, _, T, _, _ = x.shape
        # In the blocks' own order, in which the convolutions also take 0.6 of the time.
        frames = self.act(self.conv_bn(0, clips_to_frames(x), self.proj1, self.norm1))
        frames = self.conv_bn(1, frames, self.proj2, self.norm2)  # BT C H/4 W/4
        frames = frames.permute(0, 2, 3, 1)  # BT H/4 W/4 C
        return frames.reshape(B, T, *frames.shape[1:])


class Downsample(nn.Module):
    """Convolution that halves the side of every frame, then LayerNorm."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.proj = _halving_conv(dim, out_dim)
        self.norm = LayerNormCL(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H/2, W/2, C']."""
        B, T = x.shape[:2]
        frames = convolve(self.proj, x.flatten(0, 1).permute(0, 3, 1, 2))  # BT C' H/2 W/2
        frames = frames.permute(0, 2, 3, 1)  # BT H/2 W/2 C'
        return self.norm(frames.reshape(B, T, *frames.shape[1:]))


def _halving_conv(dim: int, out_dim: int) -> nn.Conv3d:
    """A convolution over 3 x 3 places of one frame with stride 2, rounding up."""
    return nn.Conv3d(dim, out_dim, kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


class PosMLPVideo(nn.Module):
    """PosMLP-Video for clips of `num_frames` frames of `crop_size` pixels a side; one frame makes the image
    model.

    `num_groups`, one a stage, must divide the width; `windows`, the sides of the square windows, that stage's
    map (None: 14, 14, 14, 7 if these fit, else the same share of the map). `time_windows` must divide the
    frames (None: all frames, the only official choice); an image model ignores them. `drop_path` is the rate
    of the last block; it grows linearly from 0 at the first. `table_init`: see LearnedPosition. As the tables
    start at zero, every block gives its input at first.

    `block`: "parallel" (official), x + S(x) + T(x). Reconstructed, without published figures: "t_then_s" and
    "s_then_t", two residuals in that order; "joint", one branch over windows of space and time, whose cost a
    token grows with time_windows · windows². Time windows shorter than the clip are ours too. The image model
    (official code and weights are not released) is the spatial branch alone.

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
        windows: tuple[int, ...] | None = None,
        time_windows: tuple[int, ...] | None = None,
        block: str = "parallel",
        table_init: str = "zeros",
        drop_path: float = 0.0,
    ):
        super().__init__()
        tables = dict(
            depths=depths, dims=dims, num_groups=num_groups, windows=windows, time_windows=time_windows
        )
        check_stage_tables(NUM_STAGES, **tables)
        if dims[0] % 2:
            raise ValueError(f"MODEL.ARGS.dims {list(dims)}: the first width must be even.")
        check_groups(num_groups, dims)
        if block not in BLOCKS:
            raise ValueError(f"MODEL.ARGS.block {block!r}: use one of {', '.join(BLOCKS)}.")
        if not 0 <= drop_path < 1:
            raise ValueError(f"MODEL.ARGS.drop_path {drop_path}: give a rate from 0 up to, but not, 1.")
        self.sides = resolve_window_sizes(crop_size, windows)
        lengths = temporal_windows(num_frames, time_windows)
        self.num_frames = num_frames
        self.crop_size = crop_size
        self.clip_sizes = ClipSizes(num_frames=num_frames, crop_size=crop_size)
        self.num_classes = num_classes
        self.grad_checkpointing = False
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        for stage, (dim, depth, groups) in enumerate(zip(dims, depths, num_groups)):
            mixed = _branch_windows(block, lengths[stage], self.sides[stage], video=num_frames > 1)
            shared = dict(block=block, windows=mixed, num_groups=groups, table_init=table_init)
            embed = Downsample(dims[stage - 1], dim) if stage else Stem(dim)
            blocks = nn.ModuleList(Block(dim, **shared, rate=rates.pop(0)) for _ in range(depth))
            self.add_module(f"patch_embed{stage + 1}", embed)
            self.add_module(f"blocks{stage + 1}", blocks)
        self.norm = nn.LayerNorm(dims[-1])
        self.head = nn.Linear(dims[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def stages(self) -> list[tuple[nn.Module, nn.ModuleList]]:
        """The embedding and the blocks of every stage, in the order of the data."""
        numbers = range(1, NUM_STAGES + 1)
        return [(getattr(self, f"patch_embed{n}"), getattr(self, f"blocks{n}")) for n in numbers]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes the activations of blocks for the gradient instead of storing them, or not."""
        self.grad_checkpointing = enable

    def stage_maps(self, x: Tensor, stage: int) -> Tensor:
        """What the blocks of stage `stage`, from 0, give, [B, R, T, N, C] -> maps [B, T, H, W, C]."""
        return window_reverse(x, self.sides[stage], math.isqrt(x.shape[1] * x.shape[3]))

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] -> what the head sees [B, C], the mean over all normalised tokens."""
        self.clip_sizes.check(x)
        for side, (embed, blocks) in zip(self.sides, self.stages()):
            x = embed(x)  # B T H W C
            height = x.shape[2]
            x = window_partition(x, side)  # B R T N C
            for block in blocks:
                x = run_block(block, x, recompute=self.grad_checkpointing)
            x = window_reverse(x, side, height)  # B T H W C
        return self.norm(x).mean(dim=(1, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W], normalised -> logits [B, K]."""
        return self.head(self.forward_features(x))


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights without their index buffers, which the model computes itself."""
    return {
        name: value for name, value in state.items() if not name.endswith("window_relative_position_index")
    }


def from_image_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Image weights for the video `model`; the names in NOT_IN_IMAGE_WEIGHTS are left for it to keep.

    Our image model has the video model's kernels of one frame already; those of two axes get a time axis of
    1. As t_fc gives zero at the start, a still clip then gives the image model's logits. A joint model's
    tables need `fit_weights` besides.
    """
    return inflate_weights(state, model)


def fit_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Weights of another number of frames, or other windows, as `model` needs them: tables and token biases
    are resampled (see resample_positions).
    """
    return resample_positions(state, model)


def _branch_windows(block: str, length: int, side: int, *, video: bool) -> dict[str, WindowSize]:
    """The window (t, h, w) of every branch of a block type."""
    if block == "joint":
        return {"fc": (length, side, side)}
    windows = {"t_fc": (length, 1, 1)} if video else {}
    return {**windows, "fc": (1, side, side)}


MODEL = PosMLPVideo
# S is the authors' only own config; S96 is its first form. B and B96 are reconstructed: the depths of
# MorphMLP-B at the widths of S and S96. Nano is ours: small enough for the embedded data on a CPU.
VARIANTS = {
    "Nano": dict(depths=(1, 1, 2, 1), dims=(32, 64, 128, 128), table_init="trunc_normal"),
    "S": dict(depths=(3, 4, 9, 3), dims=(72, 144, 288, 576)),
    "S96": dict(depths=(3, 4, 9, 3), dims=(96, 192, 384, 768)),
    "B": dict(depths=(4, 6, 15, 4), dims=(72, 144, 288, 576)),
    "B96": dict(depths=(4, 6, 15, 4), dims=(96, 192, 384, 768)),
}
