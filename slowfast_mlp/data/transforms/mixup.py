"""Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) of a batch with itself in reversed order."""

import math
import random
from dataclasses import dataclass

from torch import Tensor

from slowfast_mlp.data.transforms.affine import Box
from slowfast_mlp.seeding import mix_seeds


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Mixes each batch with one set of random values from (seed, epoch, step, rank).

    With probability `prob` a batch is mixed: by CutMix with probability `switch_prob`, else by Mixup. Lambda,
    the weight of a clip itself, is sampled from Beta(alpha, alpha), with `cutmix_alpha` for CutMix. An alpha
    of 0 disables its method.
    """

    alpha: float
    cutmix_alpha: float
    prob: float
    switch_prob: float
    seed: int
    rank: int

    def __call__(self, clips: Tensor, targets: Tensor, *, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Mixes clips [B, 3, T, H, W] in place; returns them and the mixed targets [B, K]."""
        share, box = self.sample(*clips.shape[-2:], epoch=epoch, step=step)
        if share == 1:
            return clips, targets
        partners = clips.flip(0)
        if box is None:
            clips.mul_(share).add_(partners, alpha=1 - share)
        else:
            top, left, height, width = box
            area = (..., slice(top, top + height), slice(left, left + width))
            clips[area] = partners[area]
        return clips, share * targets + (1 - share) * targets.flip(0)

    def sample(self, height: int, width: int, *, epoch: int, step: int) -> tuple[float, Box | None]:
        """Lambda, and for CutMix the box to replace."""
        # Python's generator: torch's has no beta distribution.
        source = random.Random(mix_seeds(self.seed, epoch, step, self.rank))
        mixes, cuts = source.random() < self.prob, source.random() < self.switch_prob
        if not mixes:
            return 1.0, None
        if self.alpha and not (cuts and self.cutmix_alpha):
            return source.betavariate(self.alpha, self.alpha), None
        share = source.betavariate(self.cutmix_alpha, self.cutmix_alpha)
        box = cut_box(height, width, share, y=source.randrange(height), x=source.randrange(width))
        return 1 - box[2] * box[3] / (height * width), box


def cut_box(height: int, width: int, share: float, *, y: int, x: int) -> Box:
    """A box around (y, x) of 1 - `share` of the area, clipped to the frame."""
    half_height = int(height * math.sqrt(1 - share)) // 2
    half_width = int(width * math.sqrt(1 - share)) // 2
    top, left = max(0, y - half_height), max(0, x - half_width)
    return top, left, min(height, y + half_height) - top, min(width, x + half_width) - left
