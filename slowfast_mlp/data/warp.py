"""Frames moved by affine maps: rotated, sheared and shifted as Pillow does it, or by one map out of several.

A map (a, b, c, d, e, f) says where a pixel comes from: of the output's point (x, y) the source's is
(a x + b y + c, d x + e y + f). Points are measured from the corner of the frame, so that the first pixel's
centre is (0.5, 0.5). T time, H W pixels, P pixels of the output, K source pixels that make one of them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

FILL = 128  # grey of what a map leaves empty, as in timm and PySlowFast
# Keeps a grey level that is whole, but for float32, from being cut down to the next lower one.
EPSILON = 1e-3

CACHED_VALUES = 2**19  # float32 values that a core's cache holds

Map = tuple[float, float, float, float, float, float]
Box = tuple[int, int, int, int]  # top, left, height, width
# Points [P] along an axis of some length -> indices [P, K] and weights [P, K] of the pixels around them.
Taps = Callable[[Tensor, int], tuple[Tensor, Tensor]]


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
    x, y = _move(*_box_points(box, frames.device), source)  # P
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    top, left, region_height, region_width = _region([source], box, height, width)
    region = frames[:, top : top + region_height, left : left + region_width]
    columns = _nearest if source[:3] == (1, 0, 0) else _cubic
    rows = _nearest if source[3:] == (0, 1, 0) else _cubic
    return _gather(region, rows, y - top, columns, x - left, inside, box[2:], round_up=EPSILON)


def _region(maps: Sequence[Map], box: Box, height: int, width: int) -> Box:
    """What part of the frame a box of the moved frames comes from, with the pixels around; at least a pixel.

    Where it ends inside the frame nothing beyond it counts, and its borders are the frame's elsewhere.
    """
    top, left, box_height, box_width = box
    corners = [(x, y) for x in (left, left + box_width) for y in (top, top + box_height)]
    for source in reversed(maps):
        corners = [_move(x, y, source) for x, y in corners]
    spans = [
        (min(max(math.floor(min(span)) - 3, 0), length - 1), min(max(math.ceil(max(span)) + 3, 1), length))
        for span, length in zip(zip(*corners), (width, height))
    ]
    (first_x, end_x), (first_y, end_y) = spans
    return first_y, first_x, max(1, end_y - first_y), max(1, end_x - first_x)


def warp_through(
    frames: Tensor, names: Sequence[tuple[str, float]], box: Box, size: int, flip: bool
) -> Tensor:
    """[T, H, W, 3] uint8 -> [T, S, S, 3]: the named maps in order, crop, resize and mirroring as one
    bilinear map, rounded.

    A point that any of the maps leaves empty is grey.
    """
    height, width = frames.shape[1:3]
    maps = [MAPS[name](argument, height, width) for name, argument in names]
    x, y = _box_points((0, 0, size, size), frames.device)  # P
    x = size - x if flip else x
    top, left, box_height, box_width = box
    # A resize does not look beyond its box.
    x = (left + x * (box_width / size)).clamp(left + 0.5, left + box_width - 0.5)
    y = (top + y * (box_height / size)).clamp(top + 0.5, top + box_height - 0.5)
    inside = torch.ones_like(x, dtype=torch.bool)
    for source in reversed(maps):
        x, y = _move(x, y, source)
        inside &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
    top, left, region_height, region_width = _region(maps, box, height, width)
    region = frames[:, top : top + region_height, left : left + region_width]
    return _gather(region, _linear, y - top, _linear, x - left, inside, (size, size), round_up=0.5)


def _box_points(box: Box, device: torch.device) -> tuple[Tensor, Tensor]:
    """x [P] and y [P] of the centres of a box's pixels, row by row."""
    top, left, height, width = box
    # fp32 where the device has no fp64 (Apple's).
    dtype = torch.float32 if device.type == "mps" else torch.float64
    x = torch.arange(left, left + width, device=device, dtype=dtype) + 0.5
    y = torch.arange(top, top + height, device=device, dtype=dtype) + 0.5
    return x.repeat(height), y.repeat_interleave(width)


def _move(x: Any, y: Any, source: Map) -> tuple[Any, Any]:
    """Where points come from; numbers or tensors."""
    a, b, c, d, e, f = source
    return a * x + b * y + c, d * x + e * y + f


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
    rows: Taps,
    y: Tensor,
    columns: Taps,
    x: Tensor,
    inside: Tensor,
    size: tuple[int, int],
    *,
    round_up: float,
) -> Tensor:
    """[T, H, W, 3] -> [T, *size, 3]: weighted sums of the pixels around the points (x, y) [P], FILL where a
    point is not `inside` [P].
    """
    T, height, width, _ = frames.shape
    # All frames share the map: a pixel of all of them is one row, which is read at once.
    pixels = torch.empty(height, width, T, 3, device=frames.device)
    for channel in range(3):  # one by one: copying three values at a time takes longer
        pixels[..., channel] = frames[..., channel].permute(1, 2, 0)
    pixels = pixels.reshape(height * width, T * 3)
    moved = torch.empty(T, len(x), 3, dtype=torch.uint8, device=frames.device)
    # On a CPU by parts that its cache holds: fresh memory for all would take longer than the sums.
    at_a_time = max(1, CACHED_VALUES // (T * 3)) if frames.device.type == "cpu" else len(x)
    for start in range(0, len(x), at_a_time):
        part = slice(start, start + at_a_time)
        row, row_weight = rows(y[part], height)  # P K
        column, column_weight = columns(x[part], width)  # P K
        index = (row.unsqueeze(2) * width + column.unsqueeze(1)).flatten(1)  # P K
        weights = (row_weight.unsqueeze(2) * column_weight.unsqueeze(1)).flatten(1).float()  # P K
        values = _weighted_sums(pixels, index, weights).add_(round_up).clamp_(0, 255)  # P T·3
        values.masked_fill_(~inside[part].unsqueeze(1), FILL)
        moved[:, part] = values.reshape(-1, T, 3).transpose(0, 1)
    return moved.reshape(T, *size, 3)


def _weighted_sums(pixels: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Sums [P, T·3] of the K rows of pixels [H·W, T·3] at index [P, K], by weights [P, K]."""
    if pixels.device.type in ("cpu", "cuda"):
        return F.embedding_bag(index, pixels, per_sample_weights=weights, mode="sum")
    # Not every version of torch has it elsewhere.
    return sum(pixels[index[:, k]] * weights[:, k : k + 1] for k in range(index.shape[1]))
