"""Frames moved by affine maps: rotated, sheared and shifted as Pillow does it, or by one map out of several.

A map (a, b, c, d, e, f) says where a pixel comes from: of the output's point (x, y) the source's is
(a x + b y + c, d x + e y + f). Points are measured from the corner of the frame, so that the first pixel's
centre is (0.5, 0.5). T time, H W pixels, P pixels of the output, K source pixels that make one of them.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

FILL = 128  # grey of what a map leaves empty, as in timm and PySlowFast
# Keeps a grey level that is whole, but for float32, from being cut down to the next lower one.
EPSILON = 1e-3

Map = tuple[float, float, float, float, float, float]
Box = tuple[int, int, int, int]  # top, left, height, width


def _rotation(degrees: float, height: int, width: int) -> Map:
    """Counter-clockwise around the centre."""
    angle = -math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = width / 2, height / 2
    return cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y


# Name -> function of (argument, height, width) that gives the map.
MAPS: dict[str, Callable[[float, int, int], Map]] = {
    "Rotate": _rotation,
    "ShearX": lambda factor, height, width: (1, factor, 0, 0, 1, 0),
    "ShearY": lambda factor, height, width: (1, 0, 0, factor, 1, 0),
    "TranslateX": lambda share, height, width: (1, 0, share * width, 0, 1, 0),
    "TranslateY": lambda share, height, width: (1, 0, 0, 0, 1, share * height),
}


def warp(frames: Tensor, source: Map, box: Box) -> Tensor:
    """[T, H, W, 3] uint8 -> the box [T, h, w, 3] of the moved frames; bicubic, cut off to whole grey levels.

    Equals Pillow's affine transform but for 1 grey level in a pixel or so of a thousand.
    """
    height, width = frames.shape[1:3]
    x, y = _box_points(box, frames.device)
    x, y = source[0] * x + source[1] * y + source[2], source[3] * x + source[4] * y + source[5]  # P
    moves_x, moves_y = source[:3] != (1, 0, 0), source[3:] != (0, 1, 0)
    columns = _cubic(x, width) if moves_x else _nearest(x, width)
    rows = _cubic(y, height) if moves_y else _nearest(y, height)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return _gather(frames, rows, columns, inside, box[2:], round_up=EPSILON)


def warp_through(
    frames: Tensor, names: Sequence[tuple[str, float]], box: Box, size: int, flip: bool
) -> Tensor:
    """[T, H, W, 3] uint8 -> [T, S, S, 3]: the named maps in order, crop, resize and mirroring as one
    bilinear map, rounded.

    A point that any of the maps leaves empty is grey.
    """
    height, width = frames.shape[1:3]
    x, y = _box_points((0, 0, size, size), frames.device)  # P
    x = size - x if flip else x
    top, left, box_height, box_width = box
    # A resize does not look beyond its box.
    x = (left + x * (box_width / size)).clamp(left + 0.5, left + box_width - 0.5)
    y = (top + y * (box_height / size)).clamp(top + 0.5, top + box_height - 0.5)
    inside = torch.ones_like(x, dtype=torch.bool)
    for name, argument in reversed(names):
        a, b, c, d, e, f = MAPS[name](argument, height, width)
        x, y = a * x + b * y + c, d * x + e * y + f
        inside &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return _gather(frames, _linear(y, height), _linear(x, width), inside, (size, size), round_up=0.5)


def _box_points(box: Box, device: torch.device) -> tuple[Tensor, Tensor]:
    """x [P] and y [P] of the centres of a box's pixels, row by row."""
    top, left, height, width = box
    # fp32 where the device has no fp64 (Apple's).
    dtype = torch.float32 if device.type == "mps" else torch.float64
    x = torch.arange(left, left + width, device=device, dtype=dtype) + 0.5
    y = torch.arange(top, top + height, device=device, dtype=dtype) + 0.5
    return x.repeat(height), y.repeat_interleave(width)


def _nearest(points: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Indices [P, 1] and weights [P, 1] of the pixels at points that are centres."""
    return points.floor().long().clamp(0, length - 1).unsqueeze(1), torch.ones_like(points).unsqueeze(1)


def _linear(points: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Indices [P, 2] and weights [P, 2] of the two pixels around each point."""
    first = (points - 0.5).floor()
    way = points - 0.5 - first
    return _indices(first, (0, 1), length), torch.stack([1 - way, way], dim=1)


def _cubic(points: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Indices [P, 4] and weights [P, 4] of the four pixels around each point: Pillow's kernel, a = -1."""
    first = (points - 0.5).floor()
    way = points - 0.5 - first
    back = 1 - way
    weights = [-way * back**2, 1 - 2 * way**2 + way**3, 1 - 2 * back**2 + back**3, -back * way**2]
    return _indices(first, (-1, 0, 1, 2), length), torch.stack(weights, dim=1)


def _indices(first: Tensor, steps: tuple[int, ...], length: int) -> Tensor:
    """[P, K]; what lies outside the frame is its border."""
    steps_of_point = torch.arange(steps[0], steps[-1] + 1, device=first.device)
    return (first.long().unsqueeze(1) + steps_of_point).clamp(0, length - 1)


def _gather(
    frames: Tensor,
    rows: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
    inside: Tensor,
    size: tuple[int, int],
    *,
    round_up: float,
) -> Tensor:
    """[T, H, W, 3] -> [T, *size, 3]: weighted sums of pixels, FILL where a point is not `inside` [P]."""
    T, height, width, _ = frames.shape
    index = (rows[0].unsqueeze(2) * width + columns[0].unsqueeze(1)).flatten(1)  # P K
    weights = (rows[1].unsqueeze(2) * columns[1].unsqueeze(1)).flatten(1).float()  # P K
    # All frames share the map: a pixel of all of them is one row, which is read at once.
    pixels = frames.permute(1, 2, 0, 3).reshape(height * width, T * 3).float()
    if frames.device.type in ("cpu", "cuda"):
        mixed = F.embedding_bag(index, pixels, per_sample_weights=weights, mode="sum")  # P T·3
    else:  # not every version of torch has it elsewhere
        mixed = sum(pixels[index[:, k]] * weights[:, k : k + 1] for k in range(index.shape[1]))
    mixed = mixed.add_(round_up).clamp_(0, 255).to(torch.uint8)
    mixed = mixed.masked_fill_(~inside.unsqueeze(1), FILL)
    return mixed.reshape(*size, T, 3).permute(2, 0, 1, 3).contiguous()
