"""VAST and AST (Affine-Shift Transformer, arXiv 2208.11108): video and image backbone of shifts that the
data scale and bias.

Reconstructed: neither the paper's code nor its body was to be had. Known are the pre-norm layer, the value
projection, shifts of channel groups by one position over space and, for video, time, and that a scale and a
bias a channel, both from the data, follow. All else is chosen here and an argument of VAST; no published size
or accuracy is claimed.

Axes: B batch, C channels, T time, H W space, K classes.
"""

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from slowfast_mlp.layers.activation_checkpointing import run_block
from slowfast_mlp.layers.affine_shift import (
    SPATIAL_SHIFTS,
    TEMPORAL_SHIFTS,
    AffineShift,
)
from slowfast_mlp.layers.clip_size import NUM_STAGES, ClipSizes, check_stage_tables, divisors
from slowfast_mlp.layers.frame_embed import ConvStem, PatchEmbed
from slowfast_mlp.layers.layer_norm import LayerNormCL
from slowfast_mlp.layers.mlp import Mlp

TOTAL_STRIDE = 32
# Kernel, stride and padding of the patch embeddings: the first, and those between stages.
FIRST_EMBED = (7, 4, 2)
LATER_EMBED = (3, 2, 1)
GATES = ("pooled", "token", "none")
STEMS = ("patch", "conv")
VIDEO_DROPOUT = 0.5
BIAS_KERNEL_FRAMES = 3
# A video model has the names of the image model. Only kernels over several frames differ, by their time axis.
NOT_IN_IMAGE_WEIGHTS = ()


class Block(nn.Module):
    """The pre-norm layer of a transformer: x' = x + drop(mixer(norm1(x))); x' + drop(mlp(norm2(x')))."""

    def __init__(self, dim: int, *, mixer: nn.Module, mlp_ratio: int, norm_eps: float, drop_path: float):
        super().__init__()
        self.norm1 = LayerNormCL(dim, eps=norm_eps)
        self.mixer = mixer
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, dim * mlp_ratio, dim)
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        x = x + self.drop_path(self.mixer(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class VAST(nn.Module):
    """VAST for clips of `num_frames` frames of `crop_size` pixels a side; with one frame the image model AST.

    Reconstructed: all of the following, the variants and the stages are our choice.

    `gate` sees the mean of a clip ("pooled": one gate a channel) or every token by itself ("token"), or there
    is none ("none"); its hidden width is the width over `reduction`. `shift_divisor`: every direction (H+,
    H-, W+, W- and, for video, T+, T-) moves C // shift_divisor channels. `shift_time` False leaves the
    channels of T+ and T- where they are, as the image model does. `bias_kernel` is the side of the depthwise
    kernel, None for no bias; `bias_kernel_frames` its length in a video model, 1 for frame by frame.
    `out_proj` False leaves out the mixer's last linear layer. `stem` "patch" is one convolution of 7x7 places
    with stride 4, frame by frame; "conv" two of 3x3 with stride 2, in a video model over `stem_frames`
    frames. `dropout`, before the head, is 0.5 for video and 0 for images where None. `drop_path` is the rate
    of the last block; it grows linearly from 0 at the first.

    Raises ValueError that names the argument and the legal values where something does not fit.
    """

    grad_checkpointing = False  # see set_grad_checkpointing

    def __init__(
        self,
        *,
        num_classes: int,
        num_frames: int,
        crop_size: int,
        depths: tuple[int, ...],
        dims: tuple[int, ...],
        gate: str = "pooled",
        reduction: int = 4,
        shift_divisor: int = 8,
        shift_time: bool = True,
        bias_kernel: int | None = 3,
        bias_kernel_frames: int = BIAS_KERNEL_FRAMES,
        out_proj: bool = True,
        stem: str = "patch",
        stem_frames: int = 1,
        mlp_ratio: int = 4,
        norm_eps: float = 1e-6,
        dropout: float | None = None,
        drop_path: float = 0.0,
    ):
        super().__init__()
        video = num_frames > 1
        shifts = SPATIAL_SHIFTS + TEMPORAL_SHIFTS if video and shift_time else SPATIAL_SHIFTS
        dropout = VIDEO_DROPOUT * video if dropout is None else dropout
        _check_size(num_frames, crop_size)
        check_stage_tables(NUM_STAGES, depths=depths, dims=dims)
        _check_mixer(
            dims, gate=gate, reduction=reduction, shift_divisor=shift_divisor, num_shifts=len(shifts)
        )
        _check_kernels(bias_kernel, dict(bias_kernel_frames=bias_kernel_frames, stem_frames=stem_frames))
        _check_stem(stem, stem_frames)
        _check_scale(dict(dropout=dropout, drop_path=drop_path), mlp_ratio=mlp_ratio, norm_eps=norm_eps)
        self.num_frames = num_frames
        self.crop_size = crop_size
        self.clip_sizes = ClipSizes(
            num_frames=num_frames,
            crop_size=crop_size,
            min_frames=2 if video else None,  # the image model has no time
            min_crop_size=TOTAL_STRIDE,
        )
        self.num_classes = num_classes
        mixer = partial(
            AffineShift,
            shifts=shifts,
            shift_divisor=shift_divisor,
            gate=gate,
            reduction=reduction,
            bias_kernel=bias_kernel,
            bias_kernel_frames=bias_kernel_frames if video else 1,
            out_proj=out_proj,
        )
        block = partial(Block, mlp_ratio=mlp_ratio, norm_eps=norm_eps)
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        for stage, (dim, depth) in enumerate(zip(dims, depths)):
            in_dim, geometry = (dims[stage - 1], LATER_EMBED) if stage else (3, FIRST_EMBED)
            if stem == "conv" and not stage:
                embed = ConvStem(dim, kernel_frames=stem_frames if video else 1, norm_eps=norm_eps)
            else:
                embed = PatchEmbed(in_dim, dim, geometry=geometry, norm_eps=norm_eps)
            blocks = (block(dim, mixer=mixer(dim), drop_path=rates.pop(0)) for _ in range(depth))
            self.add_module(f"patch_embed{stage + 1}", embed)
            self.add_module(f"blocks{stage + 1}", nn.ModuleList(blocks))
        self.norm = nn.LayerNorm(dims[-1], eps=norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dims[-1], num_classes)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Reconstructed: linear weights truncated normal, std 0.02; kernels normal, std sqrt(2 / fan-out),
        where the fan-out is the places of a kernel times the outputs of a group.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d | nn.Conv3d):
                fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                nn.init.zeros_(module.bias)

    def stages(self) -> list[tuple[nn.Module, nn.ModuleList]]:
        """The embedding and the blocks of every stage, in the order of the data."""
        numbers = range(1, NUM_STAGES + 1)
        return [(getattr(self, f"patch_embed{n}"), getattr(self, f"blocks{n}")) for n in numbers]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes the activations of blocks for the gradient instead of storing them, or not."""
        self.grad_checkpointing = enable

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] -> what the head sees [B, C], the mean over all normalised tokens."""
        self.clip_sizes.check(x)
        x = x.permute(0, 2, 3, 4, 1)  # B T H W C, C = 3: channels last from here on
        for embed, blocks in self.stages():
            x = embed(x)
            for block in blocks:
                x = run_block(block, x, recompute=self.grad_checkpointing)
        return self.norm(x).mean(dim=(1, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W], normalised -> logits [B, K]."""
        return self.head(self.dropout(self.forward_features(x)))


def from_image_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Image weights for the video `model`: kernels become the middle tap of its own, the other taps
    are zero; the rest is the same.

    A video model built with `shift_time` False then gives the image model's logits on a still clip. With its
    T+ and T- channels moving it does not: zeros enter in the first and last frame, where the image model has
    values.
    """
    own = model.state_dict()
    inflated = {}
    for name, value in state.items():
        if name in own and own[name].ndim == value.ndim + 1:
            taps = own[name].shape[2] // 2
            value = F.pad(value.unsqueeze(2), (0, 0, 0, 0, taps, taps))  # C 1 T H W
        inflated[name] = value
    return inflated


def _check_size(num_frames: int, crop_size: int) -> None:
    if num_frames < 1:
        raise ValueError(
            f"DATA.NUM_FRAMES {num_frames}: there must be a frame. Use 1 or more; 1 is the image model."
        )
    if crop_size < TOTAL_STRIDE:
        raise ValueError(
            f"DATA.TRAIN_CROP_SIZE {crop_size}: the last stage has one place for every {TOTAL_STRIDE} pixels "
            f"a side. Use {TOTAL_STRIDE} or more."
        )


def _check_mixer(
    dims: tuple[int, ...], *, gate: str, reduction: int, shift_divisor: int, num_shifts: int
) -> None:
    if gate not in GATES:
        raise ValueError(f"MODEL.ARGS.gate {gate!r}: use one of {', '.join(GATES)}.")
    if min(dims) < num_shifts:
        raise ValueError(
            f"MODEL.ARGS.dims {list(dims)}: use widths of {num_shifts} or more, a channel a direction."
        )
    if not num_shifts <= shift_divisor <= min(dims):
        raise ValueError(
            f"MODEL.ARGS.shift_divisor {shift_divisor}: each of {num_shifts} directions moves a width over "
            f"shift_divisor channels, at least one. Use {num_shifts} to {min(dims)}."
        )
    valid = divisors(math.gcd(*dims))
    if reduction not in valid:
        raise ValueError(
            f"MODEL.ARGS.reduction {reduction} does not divide every width of {list(dims)}. Use one of "
            f"{valid}."
        )


def _check_kernels(bias_kernel: int | None, frames: dict[str, int]) -> None:
    if bias_kernel is not None and (bias_kernel < 1 or bias_kernel % 2 == 0):
        raise ValueError(f"MODEL.ARGS.bias_kernel {bias_kernel}: use an odd number (1, 3, 5, ...) or null.")
    for name, number in frames.items():
        if number < 1 or number % 2 == 0:
            raise ValueError(f"MODEL.ARGS.{name} {number}: use an odd number (1, 3, 5, ...).")


def _check_stem(stem: str, stem_frames: int) -> None:
    if stem not in STEMS:
        raise ValueError(f"MODEL.ARGS.stem {stem!r}: use one of {', '.join(STEMS)}.")
    if stem == "patch" and stem_frames > 1:
        raise ValueError(
            f"MODEL.ARGS.stem_frames {stem_frames}: stem patch embeds frame by frame. Use 1, or stem conv."
        )


def _check_scale(rates: dict[str, float], *, mlp_ratio: int, norm_eps: float) -> None:
    for name, rate in rates.items():
        if not 0 <= rate < 1:
            raise ValueError(f"MODEL.ARGS.{name} {rate}: give a rate from 0 up to, but not, 1.")
    if mlp_ratio < 1:
        raise ValueError(f"MODEL.ARGS.mlp_ratio {mlp_ratio}: use 1 or more.")
    if norm_eps <= 0:
        raise ValueError(f"MODEL.ARGS.norm_eps {norm_eps}: use a number above 0.")


MODEL = VAST
# Ti, S and B: sizes reconstructed (the paper's are not known). Nano is ours: small enough for the embedded
# data on a CPU.
VARIANTS = {
    "Nano": dict(depths=(1, 1, 2, 1), dims=(32, 64, 128, 128), stem="conv", stem_frames=3),
    "Ti": dict(depths=(2, 2, 6, 2), dims=(96, 192, 384, 768)),
    "S": dict(depths=(2, 2, 18, 2), dims=(96, 192, 384, 768)),
    "B": dict(depths=(2, 2, 18, 2), dims=(128, 256, 512, 1024)),
}
