"""MorphMLP (Zhang et al., ECCV 2022, arXiv 2111.12527): video and image backbone of chunk-wise fully
connected layers.

Axes: B batch, C channels, T time, H W space, N = H·W tokens of a frame, G channel groups, S = C/G channels of
a group, L places in a chunk, M chunks of a frame, K classes. Parameter names are those of the authors' code,
so that their checkpoints load as they are. "Official" in this file means that code.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from slowfast_mlp.kernels import fused, morph_block
from slowfast_mlp.kernels.gelu_conv import GeluConv
from slowfast_mlp.layers.activation_checkpointing import run_block
from slowfast_mlp.layers.chunking import num_time_positions, resolve_chunk_lens, resolve_temporal_groups
from slowfast_mlp.layers.clip_size import NUM_STAGES, ClipSizes, check_stage_tables
from slowfast_mlp.layers.fused_conv_bn import ConvBNModule, FusedConvBN, convolve
from slowfast_mlp.layers.inflate import inflate_weights
from slowfast_mlp.layers.layer_norm import LayerNormCL
from slowfast_mlp.layers.mlp import Mlp
from slowfast_mlp.layers.morph_fc import MorphFC, TemporalMorphFC

# Parts of parameter names that an image checkpoint does not hold: the video model keeps what it was built
# with.
NOT_IN_IMAGE_WEIGHTS = (".t_norm1.", ".t_fc.")


class Block(nn.Module):
    """Time, then space, then channels, pre-norm; time reaches the trunk only through space (paper, figure 4).

    x' = x + drop(fc(norm1(x + t_fc(t_norm1(x))))); x' + drop(mlp(norm2(x'))). The residual of the spatial
    part starts at x, not at the temporal result ("skip residual": 50.6 against 49.8 on SSv1 in the paper).
    `temporal` None leaves time out: the image model.
    """

    def __init__(
        self, dim: int, *, temporal: nn.Module | None, spatial: nn.Module, mlp_ratio: int, drop_path: float
    ):
        super().__init__()
        if temporal is not None:
            self.t_norm1 = nn.LayerNorm(dim)
            self.t_fc = temporal
        self.has_time = temporal is not None
        self.norm1 = nn.LayerNorm(dim)
        self.fc = spatial
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, dim * mlp_ratio, dim)
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        if fused.enabled(*self.children()) and morph_block.can_fuse(self, x):
            return morph_block.morph_block(self, x)
        timed = x + self.t_fc(self.t_norm1(x)) if self.has_time else x
        x = x + self.drop_path(self.fc(self.norm1(timed)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Stem(ConvBNModule):
    """Two convolutions of stride 2: a quarter of the side and, for video, half of the frames."""

    def __init__(self, dim: int, *, video: bool):
        super().__init__()
        conv, norm = (nn.Conv3d, nn.BatchNorm3d) if video else (nn.Conv2d, nn.BatchNorm2d)
        self.video = video
        self.proj1 = conv(3, dim // 2, kernel_size=3, stride=2, padding=1)
        self.norm1 = norm(dim // 2)
        self.act = nn.GELU()
        self.proj2 = _halving_conv(dim // 2, dim, video=video)
        self.norm2 = norm(dim)
        self.caches = (FusedConvBN(), FusedConvBN())

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> [B, T/2, H/4, W/4, C]; an image has T = 1 and keeps it."""
        if not self.video:
            x = x.squeeze(2)  # B 3 H W
        # The layout of all that follows the stem, and the one that convolutions are quickest in.
        layout = torch.channels_last_3d if self.video else torch.channels_last
        if x.device.type == "mps":
            layout = torch.contiguous_format  # its convolutions in 3-D take no other
        x = self.conv_bn(0, x.contiguous(memory_format=layout), self.proj1, self.norm1)
        x = x.contiguous(memory_format=layout)
        if torch.is_grad_enabled() and fused.enabled(self.act, self.proj2):
            conv = self.proj2
            self.caches[1].clear()
            x = self.norm2(GeluConv.apply(x, conv.weight, conv.bias, conv.stride, conv.padding))
        else:
            x = self.conv_bn(1, self.act(x), self.proj2, self.norm2)
        if not self.video:
            x = x.unsqueeze(2)  # B C 1 H W
        return x.permute(0, 2, 3, 4, 1)  # B T H W C: channels last for the linear layers


class Downsample(nn.Module):
    """Convolution that halves the side of every frame, then LayerNorm."""

    def __init__(self, dim: int, out_dim: int, *, video: bool):
        super().__init__()
        self.proj = _halving_conv(dim, out_dim, video=video)
        self.norm = LayerNormCL(out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H/2, W/2, C']."""
        B, T = x.shape[:2]
        # The kernel is one frame long, so frames are a batch of images: a 2-D convolution on a channels-last
        # view, without the two copies of a 3-D one.
        frames = convolve(self.proj, x.flatten(0, 1).permute(0, 3, 1, 2))  # BT C' H/2 W/2
        frames = frames.permute(0, 2, 3, 1)  # BT H/2 W/2 C'
        return self.norm(frames.reshape(B, T, *frames.shape[1:]))


def _halving_conv(dim: int, out_dim: int, *, video: bool) -> nn.Module:
    """A convolution over 3 x 3 places of a frame with stride 2, rounding up."""
    if video:
        return nn.Conv3d(dim, out_dim, kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
    return nn.Conv2d(dim, out_dim, kernel_size=3, stride=2, padding=1)


class MorphMLP(nn.Module):
    """MorphMLP for clips of `num_frames` frames of `crop_size` pixels a side; one frame makes the image
    model.

    `chunk_lens`, one a stage, must divide that stage's tokens and its width. Where None they are the released
    14, 28, 28, 49 if these fit, else a quarter row, one row, two rows and the whole map. `temporal_groups`,
    one a stage, must divide the width; where None it is the largest divisor of the width that is not above
    the number of time positions (half of the frames), which gives the released 8 for 16 frames, and 16, 16,
    14, 16 for 32. `drop_path` is the rate of the last block; it grows linearly from 0 at the first.
    `temporal_init`: see TemporalMorphFC.

    The image model is reconstructed: the authors released no code of it. Its figures equal the paper's for T,
    B and L; S has 40.5 M parameters, printed as 38 M.

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
        chunk_lens: tuple[int, ...] | None = None,
        temporal_groups: tuple[int, ...] | None = None,
        mlp_ratio: int = 3,
        drop_path: float = 0.0,
        temporal_init: str = "official",
    ):
        super().__init__()
        tables = dict(depths=depths, dims=dims, chunk_lens=chunk_lens, temporal_groups=temporal_groups)
        check_stage_tables(NUM_STAGES, **tables)
        if any(dim % 4 for dim in dims):
            raise ValueError(f"MODEL.ARGS.dims {list(dims)}: every width must be a multiple of 4.")
        if mlp_ratio < 1:
            raise ValueError(f"MODEL.ARGS.mlp_ratio {mlp_ratio}: give 1 or more.")
        if not 0 <= drop_path < 1:
            raise ValueError(f"MODEL.ARGS.drop_path {drop_path}: give a rate from 0 up to, but not, 1.")
        chunk_lens = resolve_chunk_lens(crop_size, dims, chunk_lens)
        video = num_frames > 1
        if num_frames != 1:
            temporal_groups = resolve_temporal_groups(num_frames, dims, temporal_groups)
        self.num_frames = num_frames
        self.crop_size = crop_size
        self.clip_sizes = ClipSizes(num_frames=num_frames, crop_size=crop_size)
        self.num_classes = num_classes
        self.grad_checkpointing = False
        self.chunk_lens = chunk_lens
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        for stage, (dim, depth) in enumerate(zip(dims, depths)):
            temporal = dict(num_groups=temporal_groups[stage], init=temporal_init) if video else None
            blocks = nn.ModuleList(
                Block(
                    dim,
                    temporal=TemporalMorphFC(dim, num_positions=num_time_positions(num_frames), **temporal)
                    if temporal
                    else None,
                    spatial=MorphFC(dim, chunk_lens[stage], whole_map=stage == NUM_STAGES - 1),
                    mlp_ratio=mlp_ratio,
                    drop_path=rates.pop(0),
                )
                for _ in range(depth)
            )
            embed = Downsample(dims[stage - 1], dim, video=video) if stage else Stem(dim, video=video)
            self.add_module(f"patch_embed{stage + 1}", embed)
            self.add_module(f"blocks{stage + 1}", blocks)
        self.norm = nn.LayerNorm(dims[-1])
        self.head = nn.Linear(dims[-1], num_classes)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, TemporalMorphFC):
                module.reset_parameters()

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
        for embed, blocks in self.stages():
            x = embed(x)  # B T H W C
            for block in blocks:
                x = run_block(block, x, recompute=self.grad_checkpointing)
        return self.norm(x).mean(dim=(1, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W], normalised -> logits [B, K]."""
        return self.head(self.forward_features(x))


def from_image_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Image weights for the video `model`; the names in NOT_IN_IMAGE_WEIGHTS are left for it to keep.

    The authors' own way is not published. The stem's first kernel is repeated over its 3 frames and divided
    by 3, the others get a time axis of 1. As t_fc gives zero at the start, a still clip then gives the image
    model's logits, but for the zero frame with which the stem pads the beginning.
    """
    return inflate_weights(state, model)


MODEL = MorphMLP
# S and B are the paper's video models; T and L the paper's image models (num_frames 1). Nano is ours: small
# enough for the embedded data on a CPU.
VARIANTS = {
    "Nano": dict(depths=(1, 1, 2, 1), dims=(32, 64, 128, 128), temporal_init="untied"),
    "T": dict(depths=(3, 4, 7, 3), dims=(84, 168, 336, 588)),
    "S": dict(depths=(3, 4, 9, 3), dims=(112, 224, 392, 784)),
    "B": dict(depths=(4, 6, 15, 4), dims=(112, 224, 392, 784)),
    "L": dict(depths=(4, 8, 18, 6), dims=(112, 224, 392, 784)),
}
