"""Sampling the augmentation of a training view: every random number of it, before a pixel is touched."""

from dataclasses import dataclass

import torch

from slowfast_mlp.data.transforms.affine import Box
from slowfast_mlp.data.transforms.randaugment import Op, RandAugment
from slowfast_mlp.data.transforms.random_erasing import sample_erasing_box
from slowfast_mlp.data.transforms.resize_crop import sample_crop_box

MAX_NOISE_SEED = 2**62


@dataclass(frozen=True, kw_only=True)
class AugmentParams:
    """The augmentation of one training view as numbers; `transforms/augment.py` applies it.

    The ops see the decoded frames. The crop is then resized to `size` x `size` pixels and mirrored if `flip`
    is set. With `crop_first` the crop is resized (with antialiasing) and mirrored before the ops.
    `interpolation` is an argument of `resize`. `erasure` is a box of the finished view, to fill with noise
    seeded with `noise_seed`.
    """

    ops: tuple[Op, ...]
    crop: Box
    size: int
    flip: bool
    erasure: Box | None
    noise_seed: int
    crop_first: bool = False
    interpolation: str = "auto"


@dataclass(frozen=True, kw_only=True)
class AugmentSampler:
    """Samples AugmentParams.

    `area` is the range of the crop's share of the frame. `aspect` is the range of its width over its height,
    sampled uniformly in log space. `color_jitter` j scales brightness, contrast and color in random order by
    factors of 1 - j to 1 + j; as in timm and PySlowFast it is ignored when `randaugment` is given.
    `crop_first` is the order of timm's image recipes (DeiT); video recipes augment whole frames. With
    `interpolation` "random", each view is resized with bilinear or bicubic interpolation.
    """

    crop_size: int
    area: tuple[float, float]
    aspect: tuple[float, float]
    flip: bool
    randaugment: RandAugment | None = None
    color_jitter: float = 0.0
    erase_prob: float = 0.0
    crop_first: bool = False
    interpolation: str = "auto"

    def sample(self, height: int, width: int, generator: torch.Generator) -> AugmentParams:
        """The parameters of one view of frames of this size."""
        crop = sample_crop_box(height, width, self.area, self.aspect, generator)
        flip = bool(self.flip and torch.rand((), generator=generator) < 0.5)
        ops: tuple[Op, ...] = ()
        if self.randaugment:
            ops = self.randaugment.sample(generator)
        elif self.color_jitter:
            ops = sample_color_jitter(self.color_jitter, generator)
        erasure, noise_seed = None, 0
        if self.erase_prob and torch.rand((), generator=generator) < self.erase_prob:
            erasure = sample_erasing_box(self.crop_size, self.crop_size, generator)
            noise_seed = int(torch.randint(MAX_NOISE_SEED, (), generator=generator))
        interpolation = self.interpolation
        if interpolation == "random":  # last, so that the other values do not depend on this setting
            interpolation = "bilinear" if torch.rand((), generator=generator) < 0.5 else "bicubic"
        return AugmentParams(
            ops=ops,
            crop=crop,
            size=self.crop_size,
            flip=flip,
            erasure=erasure,
            noise_seed=noise_seed,
            crop_first=self.crop_first,
            interpolation=interpolation,
        )


def sample_color_jitter(strength: float, generator: torch.Generator) -> tuple[Op, ...]:
    """Brightness, contrast and color in random order, with factors of 1 - strength to 1 + strength."""
    names = ("Brightness", "Contrast", "Color")
    order = torch.randperm(3, generator=generator).tolist()
    low = max(0.0, 1 - strength)
    draws = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    return tuple((names[n], low + draw * (1 + strength - low)) for n, draw in zip(order, draws))
