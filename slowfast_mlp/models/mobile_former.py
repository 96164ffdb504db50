"""Mobile-Former (Chen et al., CVPR 2022, arXiv 2108.05895) for images and Video Mobile-Former (Wang et al.
2022, arXiv 2208.12257) for clips: the efficient peer of this project's backbones, with attention.

A MobileNet and a Transformer of a handful of tokens (3 to 6 for a whole clip) run in parallel and exchange by
cross-attention. Attention is only ever between these tokens and the map, or among the tokens.

Axes: B batch, C channels, T time, H W space, M tokens, D their width, K classes. Maps are [B·T, C, H, W], one
image a frame, in channels-last memory. Parameter names are those of the authors' image code ("official" in
this file), so that their checkpoints load as they are. No code of the video paper was to be had: what video
adds is reconstructed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from slowfast_mlp.layers.activation_checkpointing import run_block
from slowfast_mlp.layers.clip_size import ClipSizes, clips_to_frames, divisors
from slowfast_mlp.layers.cross_attention_bridge import NUM_BRIDGE_HEADS, MobileToFormer
from slowfast_mlp.layers.depthwise import TEMPORAL_STD, DepthwiseConv, TemporalKernel
from slowfast_mlp.layers.fused_conv_bn import ConvBNSequential
from slowfast_mlp.layers.mobile_former_block import Block, Classifier, Lite, relu6

MIN_CROP_SIZE = 32  # the side is halved five times
# Maps of 1/2, 1/4, ... 1/32 of the side.
STAGES = (1, 2, 3, 4, 5)
# Kind of block -> the numbers in its row of `blocks`, where C' is the width that it gives.
BLOCK_FIELDS = {"lite": ("h", "C'", "stride"), "M": ("h", "C'"), "D": ("h1", "C'", "h2")}


def _rows(text: str) -> tuple[tuple[str | int, ...], ...]:
    """Rows of `blocks` from a text: "D 72 16 64, M 96 32" -> (("D", 72, 16, 64), ("M", 96, 32))."""
    words = [row.split() for row in text.split(", ")]
    return tuple((kind, *map(int, widths)) for kind, *widths in words)


SMALL_BLOCKS = _rows(
    "lite 24 12 2, M 36 12, D 72 24 96, M 72 24, D 144 48 192, M 192 48, M 288 64, D 384 96 384, M 576 96"
)
# Parts of parameter names that an image checkpoint does not hold: the video model keeps what it was built
# with.
NOT_IN_IMAGE_WEIGHTS = (".side_taps", ".time_weight")
# The layer that gives the logits.
HEAD = "classifier.classifier.1"


class MobileFormer(nn.Module):
    """Mobile-Former for clips of `num_frames` frames of `crop_size` pixels a side; one frame makes the image
    model. No weight depends on the number of frames or pixels: it takes any crop, and any number of frames
    where time is not convolved.

    `blocks` are rows of a kind and widths as in the paper's table, "D C>h1>C'>h2>C'" as ("D", h1, C', h2):
    ("lite", h, C', stride), ("M", h, C'), ("D", h1, C', h2). `groups` are those of every point-wise
    convolution.

    The image model is the authors', exactly. Video is reconstructed, and no published accuracy is claimed for
    it: the paper says that a light 3-D network and a few tokens of the whole clip exchange by
    cross-attention, not where time is convolved. Here every depth-wise convolution does so, without stride in
    time. `temporal`: "dw3d", L x 3 x 3 kernels; "dw1+2d", L x 1 x 1 kernels and then 3 x 3 ones; "none", only
    the tokens join the frames and their order does not show. `temporal_kernel` is L. `temporal_stages` are
    the stages in which time is convolved, from 1 at half of the side to 5 at 1/32. `temporal_std` is the
    standard deviation of the side taps at the start of training; None is 0 for "dw3d", 0.5 for "dw1+2d".

    Raises ValueError that names the argument and the legal values where something does not fit.
    """

    grad_checkpointing = False  # see set_grad_checkpointing

    def __init__(
        self,
        *,
        num_classes: int,
        num_frames: int,
        crop_size: int,
        stem_dim: int,
        blocks: Sequence[Sequence[str | int]],
        num_tokens: int,
        token_dim: int,
        fc_dim: int,
        groups: int = 1,
        dropout: float = 0.0,
        temporal: str = "dw3d",
        temporal_kernel: int = 3,
        temporal_stages: tuple[int, ...] = STAGES,
        temporal_std: float | None = None,
    ):
        super().__init__()
        _check_clip_size(num_frames, crop_size)
        _check_blocks(stem_dim, blocks, groups)
        for name, number in dict(num_tokens=num_tokens, fc_dim=fc_dim).items():
            _check_argument(number >= 1, name, number, "give 1 or more")
        _check_argument(token_dim >= 4 and token_dim % 4 == 0, "token_dim", token_dim, "give a multiple of 4")
        _check_argument(0 <= dropout < 1, "dropout", dropout, "give a rate from 0 up to, but not, 1")
        time = _make_temporal_kernel(num_frames, temporal, temporal_kernel, temporal_std)
        unknown = set(temporal_stages) - set(STAGES)
        _check_argument(not unknown, "temporal_stages", list(temporal_stages), f"choose from {list(STAGES)}")
        self.num_frames = num_frames
        self.crop_size = crop_size
        has_time = time.kind != "none" and bool(temporal_stages)
        # Maps are [B·T, C, H, W], and a convolution in time knows T. Without one a video may have any.
        self.clip_sizes = ClipSizes(
            num_frames=num_frames,
            crop_size=crop_size,
            min_frames=None if has_time or num_frames == 1 else 2,
            min_crop_size=MIN_CROP_SIZE,
        )
        self.num_classes = num_classes
        self.tokens = nn.Embedding(num_tokens, token_dim)
        self.stem = ConvBNSequential(
            nn.Conv2d(3, stem_dim, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(stem_dim), relu6()
        )
        self.features = nn.ModuleList()
        dim, stage = stem_dim, 1
        for kind, *widths in blocks:
            stage += kind == "D" or (kind == "lite" and widths[2] == 2)
            block_time = time if stage in temporal_stages else replace(time, kind="none")
            shared = dict(groups=groups, time=block_time)
            if kind == "lite":
                block = Lite(dim, widths[1], hidden_dim=widths[0], stride=widths[2], **shared)
            else:
                block = Block(dim, widths[1], hidden_dims=widths[::2], token_dim=token_dim, **shared)
            self.features.append(block)
            dim = widths[1]
        self.local_global = MobileToFormer(dim, token_dim)
        self.classifier = Classifier(
            dim, token_dim=token_dim, fc_dim=fc_dim, num_classes=num_classes, groups=groups, dropout=dropout
        )
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            if isinstance(module, DepthwiseConv):
                module.reset_temporal_parameters()

    def stages(self) -> list[tuple[nn.ModuleList, nn.ModuleList]]:
        """Stem and tokens, then the blocks: one stage, for a block makes its maps smaller itself."""
        return [(nn.ModuleList([self.tokens, self.stem]), self.features)]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes the activations of blocks for the gradient instead of storing them, or not."""
        self.grad_checkpointing = enable

    def forward_features(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] -> what the last linear layer sees [B, C], before its dropout."""
        self.clip_sizes.check(x)
        tokens = self.tokens.weight.expand(x.shape[0], -1, -1)  # B M D: of the clip, not of its frames
        x = self.stem(clips_to_frames(x))
        for block in self.features:
            x, tokens = run_block(block, x, tokens, recompute=self.grad_checkpointing)
        return self.classifier.features(x, self.local_global(x, tokens))

    def forward(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W], normalised -> logits [B, K]."""
        return self.classifier.classifier(self.forward_features(x))


def from_image_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Image weights as video weights: the same, the names in NOT_IN_IMAGE_WEIGHTS being left for the model.

    With a `temporal_std` of 0 these are side taps of zero next to a middle tap that is the image's, or one. A
    still clip then gives the image model's logits, since a softmax over T equal maps averages them.
    """
    return dict(state)


def _check_argument(is_valid: bool, name: str, value: object, advice: str) -> None:
    if not is_valid:
        raise ValueError(f"MODEL.ARGS.{name} {value!r}: {advice}.")


def _check_clip_size(num_frames: int, crop_size: int) -> None:
    if num_frames < 1:
        raise ValueError(f"DATA.NUM_FRAMES {num_frames}: use 1 for the image model, or 2 and more for video.")
    if crop_size < MIN_CROP_SIZE:
        raise ValueError(
            f"DATA.TRAIN_CROP_SIZE {crop_size}: the side is halved five times; use {MIN_CROP_SIZE} or more."
        )


def _check_blocks(stem_dim: int, rows: Sequence[Sequence[str | int]], groups: int) -> None:
    """Raises ValueError unless each row of `blocks` has its widths, and these fit together and `groups`."""
    _check_argument(stem_dim >= 1, "stem_dim", stem_dim, "give 1 or more")
    _check_argument(len(rows) >= 1, "blocks", list(rows), "give one row or more")
    dim, grouped = stem_dim, []
    for row in map(list, rows):
        kind, *widths = row or [None]
        _check_argument(kind in BLOCK_FIELDS, "blocks", row, f"use one of {list(BLOCK_FIELDS)} as its kind")
        expected = f"give {kind!r}, {', '.join(BLOCK_FIELDS[kind])}, each 1 or more"
        are_positive = all(isinstance(width, int) and width >= 1 for width in widths)
        _check_argument(are_positive and len(widths) == len(BLOCK_FIELDS[kind]), "blocks", row, expected)
        hidden_dim, out_dim = widths[:2]
        if kind == "lite":
            _check_argument(widths[2] <= 2, "blocks", row, "use a stride of 1 or 2")
        else:
            for width in (dim, out_dim):
                _check_argument(
                    width % NUM_BRIDGE_HEADS == 0, "blocks", row, f"the width {width} must be even"
                )
        factors = {"lite": [(hidden_dim, dim)], "M": [], "D": [(hidden_dim, dim), (widths[-1], out_dim)]}
        for width, base in factors[kind]:
            advice = f"{width} must be a multiple of {base}, the width that its depth-wise convolution gets"
            _check_argument(width % base == 0, "blocks", row, advice)
        grouped += {"lite": [hidden_dim, out_dim], "M": [dim, *widths], "D": widths}[kind]
        dim = out_dim
    valid = divisors(math.gcd(*grouped, dim))
    _check_argument(
        groups in valid, "groups", groups, f"use one of {valid}, which divide the widths of the blocks"
    )


def _make_temporal_kernel(num_frames: int, kind: str, kernel_len: int, std: float | None) -> TemporalKernel:
    """The checked arguments `temporal...`; an image has no time."""
    _check_argument(kind in TEMPORAL_STD, "temporal", kind, f"use one of {list(TEMPORAL_STD)}")
    is_odd = kernel_len >= 3 and kernel_len % 2 == 1
    _check_argument(is_odd, "temporal_kernel", kernel_len, "use an odd length of 3 or more")
    std = TEMPORAL_STD[kind] if std is None else std
    _check_argument(std >= 0, "temporal_std", std, "give 0 or more")
    kind = kind if num_frames > 1 else "none"
    return TemporalKernel(num_frames=num_frames, kind=kind, kernel_len=kernel_len, std=std)


MODEL = MobileFormer
# The image paper's table. Video Mobile-Formers of the published range (0.5 to 6 G multiply-adds) are 52M,
# 96M, 151M, 214M, 294M and 508M with DATA.NUM_FRAMES 8 (0.44, 0.87, 1.24, 1.76, 2.44, 4.26 G), 294M with 16
# (4.86) and 508M with 12 (6.38): our choice, as the paper's own table was not to be had.
VARIANTS = {
    "26M": dict(stem_dim=8, num_tokens=3, token_dim=128, fc_dim=1024, groups=4, blocks=SMALL_BLOCKS),
    "52M": dict(stem_dim=8, num_tokens=3, token_dim=128, fc_dim=1024, blocks=SMALL_BLOCKS),
    "96M": dict(
        stem_dim=12,
        num_tokens=4,
        token_dim=128,
        fc_dim=1280,
        blocks=_rows(
            "lite 24 12 1, D 72 16 64, D 96 32 128, M 96 32, D 192 64 256, M 256 64, M 384 88, D 528 "
            "128 512, M 768 128"
        ),
    ),
    "151M": dict(
        stem_dim=12,
        num_tokens=6,
        token_dim=192,
        fc_dim=1280,
        blocks=_rows(
            "lite 24 12 1, D 72 16 64, M 48 16, D 96 32 128, M 96 32, D 192 64 256, M 256 64, M 384 88, "
            "M 528 88, D 528 128 512, M 768 128, M 768 128"
        ),
    ),
    "214M": dict(
        stem_dim=12,
        num_tokens=6,
        token_dim=192,
        fc_dim=1600,
        blocks=_rows(
            "lite 24 12 1, D 72 20 80, M 60 20, D 120 40 160, M 160 40, D 240 80 320, M 320 80, M 480 "
            "112, M 672 112, D 672 160 640, M 960 160, M 960 160"
        ),
    ),
    "294M": dict(
        stem_dim=16,
        num_tokens=6,
        token_dim=192,
        fc_dim=1920,
        blocks=_rows(
            "lite 32 16 1, D 96 24 96, M 96 24, D 144 48 192, M 192 48, D 288 96 384, M 384 96, M 576 "
            "128, M 768 128, D 768 192 768, M 1152 192, M 1152 192"
        ),
    ),
    "508M": dict(
        stem_dim=24,
        num_tokens=6,
        token_dim=192,
        fc_dim=1920,
        blocks=_rows(
            "lite 48 24 1, D 144 40 160, M 120 40, D 240 72 288, M 216 72, D 432 128 512, M 512 128, M "
            "768 176, M 1056 176, D 1056 240 960, M 1440 240, M 1440 240"
        ),
    ),
}
