"""From decoded frames [T, H, W, 3] (uint8, RGB) to normalised views [V, 3, T, H, W] (float32)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

CROP_TRIES = 10  # as in PySlowFast and torchvision, before the largest legal centre crop is taken


@dataclass(frozen=True, kw_only=True)
class TrainTransform:
    """One random view: a box of random area and shape, resized to `crop_size`, mirrored half of the time.

    `area`: range of the box's share of the frame; `aspect`: range of its width over its height, drawn
    uniformly in the logarithm. All frames of a clip share the draw.
    """

    crop_size: int
    area: tuple[float, float]
    aspect: tuple[float, float]
    flip: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        """[T, H, W, 3] uint8 -> [1, 3, T, S, S] float32."""
        top, left, height, width = random_box(*frames.shape[1:3], self.area, self.aspect, generator)
        clip = frames[:, top : top + height, left : left + width]
        clip = resize(clip.permute(0, 3, 1, 2).float(), (self.crop_size, self.crop_size))  # T 3 S S
        if self.flip and torch.rand((), generator=generator) < 0.5:
            clip = clip.flip(-1)
        return normalise(clip, self.mean, self.std).unsqueeze(0)


@dataclass(frozen=True, kw_only=True)
class ViewTransform:
    """The spatial views of a test: `num_crops` squares along the longer side, 1 (centre) or 3.

    The short side is resized to `short_size` for one crop, and to `crop_size` for three (PySlowFast's
    Kinetics). `single_crop` "first" makes the one crop the first of those three.
    """

    crop_size: int
    short_size: int
    num_crops: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    single_crop: str = "centre"

    def __call__(self, frames: Tensor) -> Tensor:
        """[T, H, W, 3] uint8 -> [V, 3, T, S, S] float32."""
        centred = self.num_crops == 1 and self.single_crop == "centre"
        short_size = self.short_size if centred else self.crop_size
        size = short_side_size(*frames.shape[1:3], short_size)
        clip = resize(frames.permute(0, 3, 1, 2).float(), size)  # T 3 H' W'
        boxes = centre_box(*size, self.crop_size) if centred else three_boxes(*size, self.crop_size)
        boxes = boxes[: self.num_crops]
        crops = [clip[..., top : top + self.crop_size, left : left + self.crop_size] for top, left in boxes]
        return torch.stack([normalise(crop, self.mean, self.std) for crop in crops])


def resize(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """[T, 3, H, W] float -> [T, 3, *size]; bilinear without antialiasing, as the papers' code does."""
    if frames.shape[-2:] == size:
        return frames
    return F.interpolate(frames, size=size, mode="bilinear", align_corners=False)


def normalise(frames: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """[T, 3, H, W] of 0 to 255 -> [3, T, H, W], scaled to 0 to 1, less `mean`, over `std` (per channel)."""
    scale = torch.tensor([1 / (255 * s) for s in std]).reshape(3, 1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std)]).reshape(3, 1, 1, 1)
    return torch.addcmul(shift, frames.transpose(0, 1), scale).contiguous()


def random_box(
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
    generator: torch.Generator,
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random box inside a frame; see TrainTransform."""
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


def centre_box(height: int, width: int, crop_size: int) -> list[tuple[int, int]]:
    """Top and left of the centre crop, rounded up (PySlowFast's uniform_crop)."""
    return [(math.ceil((height - crop_size) / 2), math.ceil((width - crop_size) / 2))]


def three_boxes(height: int, width: int, crop_size: int) -> list[tuple[int, int]]:
    """Top and left of the three crops: left, centre, right; or top, centre, bottom of an upright frame."""
    (top, left) = centre_box(height, width, crop_size)[0]
    if height > width:
        return [(0, left), (top, left), (height - crop_size, left)]
    return [(top, 0), (top, left), (top, width - crop_size)]
