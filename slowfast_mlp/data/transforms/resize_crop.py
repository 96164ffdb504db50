"""Crops and resizing of frames [T, H, W, 3] (uint8, RGB), and the views of an evaluation."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

CROP_TRIES = 10  # as in PySlowFast and torchvision, before the largest legal center crop is taken


@dataclass(frozen=True, kw_only=True)
class ViewTransform:
    """The spatial views of a test: `num_crops` squares along the longer side, 1 (center) or 3.

    The short side is resized to `short_size` for one crop, and to `crop_size` for three (PySlowFast's
    Kinetics). `single_crop` "first" makes the one crop the first of those three. `antialias` as in `resize`.
    """

    crop_size: int
    short_size: int
    num_crops: int
    single_crop: str = "centre"
    antialias: bool = False
    interpolation: str = "auto"

    def __call__(self, frames: Tensor) -> Tensor:
        """[T, H, W, 3] uint8 -> [V, 3, T, S, S] uint8."""
        size = short_side_size(*frames.shape[1:3], self.resized_short_size)
        frames = resize(frames, size, antialias=self.antialias, interpolation=self.interpolation)  # T H' W' 3
        boxes = (center_box if self.is_centered else three_boxes)(*size, self.crop_size)
        boxes = boxes[: self.num_crops]
        crops = [frames[:, top : top + self.crop_size, left : left + self.crop_size] for top, left in boxes]
        return torch.stack(crops).permute(0, 4, 1, 2, 3)  # V 3 T S S

    @property
    def is_centered(self) -> bool:
        """Whether there is one crop, at the center of a frame that may be larger than the crop."""
        return self.num_crops == 1 and self.single_crop == "centre"

    @property
    def resized_short_size(self) -> int:
        """The short side of the resized frame from which crops are taken."""
        return self.short_size if self.is_centered else self.crop_size


def resize(
    frames: Tensor, size: tuple[int, int], *, antialias: bool = False, interpolation: str = "auto"
) -> Tensor:
    """[T, H, W, 3] uint8 -> [T, *size, 3] uint8, bilinear or bicubic; auto is bilinear without antialiasing,
    as in the video papers' code, and bicubic with it, as in Pillow and the image papers' code.

    Within 1 gray level of the same in float32.
    """
    if frames.shape[1:3] == size:
        return frames
    images = frames.permute(0, 3, 1, 2)  # T 3 H W, channels last
    mode = resize_mode(interpolation, antialias=antialias)
    on_cpu = frames.device.type == "cpu"  # there torch has a uint8 kernel, several times as fast
    pixels = images if on_cpu else images.float()
    resized = F.interpolate(pixels, size, mode=mode, align_corners=False, antialias=antialias)
    if not on_cpu:
        resized = resized.round_().clamp_(0, 255).to(torch.uint8)
    return resized.permute(0, 2, 3, 1).contiguous()


def resize_mode(interpolation: str, *, antialias: bool) -> str:
    """The mode of F.interpolate: bilinear or bicubic."""
    return ("bicubic" if antialias else "bilinear") if interpolation == "auto" else interpolation


def sample_crop_box(
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    generator: torch.Generator,
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random box inside a frame.

    `area`: range of its share of the frame; `aspect`: range of its width over its height, drawn uniformly in
    the logarithm.
    """
    for _ in range(CROP_TRIES):
        share, log_aspect, y, x = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        box_area = height * width * (area[0] + share * (area[1] - area[0]))
        ratio = math.exp(math.log(aspect[0]) + log_aspect * (math.log(aspect[1]) - math.log(aspect[0])))
        box_width, box_height = round(math.sqrt(box_area * ratio)), round(math.sqrt(box_area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top, left = int(y * (height - box_height + 1)), int(x * (width - box_width + 1))
            return top, left, box_height, box_width
    ratio = min(max(width / height, aspect[0]), aspect[1])
    box_width, box_height = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def short_side_size(height: int, width: int, short_size: int) -> tuple[int, int]:
    """Height and width after the short side became `short_size`; the long one rounds down (PySlowFast)."""
    if min(height, width) == short_size:
        return height, width
    if height <= width:
        return short_size, math.floor(width / height * short_size)
    return math.floor(height / width * short_size), short_size


def center_box(height: int, width: int, crop_size: int) -> list[tuple[int, int]]:
    """Top and left of the center crop, rounded up (PySlowFast's uniform_crop)."""
    return [(math.ceil((height - crop_size) / 2), math.ceil((width - crop_size) / 2))]


def three_boxes(height: int, width: int, crop_size: int) -> list[tuple[int, int]]:
    """Top and left of the three crops: left, center, right; or top, center, bottom of an upright frame."""
    (top, left) = center_box(height, width, crop_size)[0]
    if height > width:
        return [(0, left), (top, left), (height - crop_size, left)]
    return [(top, 0), (top, left), (top, width - crop_size)]
