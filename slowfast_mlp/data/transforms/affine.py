"""Affine warps of frames: rotation, shear and translation as in Pillow, or several of them in one resampling.

A map (a, b, c, d, e, f) takes an output point (x, y) to the source point
(a x + b y + c, d x + e y + f). Points are measured from the corner of the frame, so that the first pixel's
center is (0.5, 0.5). T time, H W pixels, P pixels of the output, K source pixels that make one of them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

FILL = 128  # gray of what a map leaves empty, as in timm and PySlowFast
# Keeps a gray level that is whole, but for float32, from being cut down to the next lower one.
EPSILON = 1e-3

CACHED_VALUES = 2**19  # float32 values that a core's cache holds

Map = tuple[float, float, float, float, float, float]
Box = tuple[int, int, int, int]  # top, left, height, width
Points = tuple[Tensor, Tensor]  # x [P] and y [P]


def _rotation(degrees: float, height: int, width: int) -> Map:
    """Counter-clockwise around the center."""
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
    """[T, H, W, 3] uint8 -> the box [T, h, w, 3] of the warped frames; bicubic, truncated to integer levels.

    Equals Pillow's affine transform, except that about one pixel in a thousand differs by 1.
    """
    height, width = frames.shape[1:3]
    x, y = _move(*_box_points(box, frames.device), source)  # P
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    top, left, region_height, region_width = _region([source], box, height, width)
    region = frames[:, top : top + region_height, left : left + region_width]
    columns = NEAREST if source[:3] == (1, 0, 0) else CUBIC
    rows = NEAREST if source[3:] == (0, 1, 0) else CUBIC
    points = (x - left, y - top)
    return _gather(region, points, inside, box[2:], rows=rows, columns=columns, round_up=EPSILON)


def _region(maps: Sequence[Map], box: Box, height: int, width: int) -> Box:
    """The part of the frame that a box of the warped frames reads, with the margin of the kernel.

    It is at least one pixel. Where it ends inside the frame, no pixel beyond it is read.
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

    A point that any of the maps leaves empty is gray.
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
    points = (x - left, y - top)
    return _gather(region, points, inside, (size, size), rows=LINEAR, columns=LINEAR, round_up=0.5)


def _box_points(box: Box, device: torch.device) -> Points:
    """x [P] and y [P] of the centers of a box's pixels, row by row."""
    top, left, height, width = box
    # fp32 where the device has no fp64 (Apple's).
    dtype = torch.float32 if device.type == "mps" else torch.float64
    x = torch.arange(left, left + width, device=device, dtype=dtype) + 0.5
    y = torch.arange(top, top + height, device=device, dtype=dtype) + 0.5
    return x.repeat(height), y.repeat_interleave(width)


def _move(x: Any, y: Any, source: Map) -> tuple[Any, Any]:
    """Applies a map to points: numbers or tensors."""
    a, b, c, d, e, f = source
    return a * x + b * y + c, d * x + e * y + f


class Kernel(NamedTuple):
    """An interpolation kernel along one axis.

    `steps` are the offsets of its pixels from the pixel at or before the point. `weights` maps the distance
    [P], in [0, 1), of the point from that pixel's center to the weight [P] of every pixel.
    """

    steps: tuple[int, ...]
    weights: Callable[[Tensor], list[Tensor]]


def _cubic_weights(way: Tensor) -> list[Tensor]:
    """Pillow's, with a = -1."""
    back = 1 - way
    return [-way * back**2, 1 - 2 * way**2 + way**3, 1 - 2 * back**2 + back**3, -back * way**2]


NEAREST = Kernel((0,), lambda way: [torch.ones_like(way)])
LINEAR = Kernel((0, 1), lambda way: [1 - way, way])
CUBIC = Kernel((-1, 0, 1, 2), _cubic_weights)
MARGIN = 2  # what the widest kernel reads beyond the last pixel


def _gather(
    frames: Tensor,
    points: Points,
    inside: Tensor,
    size: tuple[int, int],
    *,
    rows: Kernel,
    columns: Kernel,
    round_up: float,
) -> Tensor:
    """[T, H, W, 3] -> [T, *size, 3]: weighted sums of the pixels around the points [P], FILL where a point is
    not `inside` [P]. Beyond the frame its border goes on.
    """
    T, _, width, _ = frames.shape
    pixels = _lay_out(frames).reshape(-1, T * 3)
    stride = width + 2 * MARGIN
    steps = torch.tensor([y * stride + x for y in rows.steps for x in columns.steps], device=frames.device)
    x, y = points
    moved = torch.empty(T, len(x), 3, dtype=torch.uint8, device=frames.device)
    # On a CPU by parts that its cache holds: fresh memory for all would take longer than the sums.
    at_a_time = max(1, CACHED_VALUES // (T * 3)) if frames.device.type == "cpu" else len(x)
    for start in range(0, len(x), at_a_time):
        part = slice(start, start + at_a_time)
        column, column_weights = _taps(x[part], columns)
        row, row_weights = _taps(y[part], rows)
        index = ((row + MARGIN) * stride + (column + MARGIN)).long().unsqueeze(1) + steps  # P K
        # The first row of pixels is gray.
        index = (index + 1).masked_fill_(~inside[part].unsqueeze(1), 0)
        weights = torch.stack([y * x for y in row_weights for x in column_weights], dim=1)  # P K
        values = _weighted_sums(pixels, index, weights).add_(round_up)  # P T·3
        if CUBIC in (rows, columns):  # alone has weights below 0
            values.clamp_(0, 255)
        values = values.to(torch.uint8).reshape(-1, T, 3)
        for channel in range(3):  # one by one: copying three values at a time takes longer
            moved[:, part, channel] = values[..., channel].t()
    return moved.reshape(T, *size, 3)


def _lay_out(frames: Tensor) -> Tensor:
    """[T, H, W, 3] uint8 -> [1 + (H + 2 M)(W + 2 M), T, 3] float32: a pixel of all frames is one row, as all
    share the map, and is read at once. Around the frame its border goes on for M pixels; the first row is
    gray.
    """
    T, height, width, _ = frames.shape
    shape = height + 2 * MARGIN, width + 2 * MARGIN, T, 3
    laid = torch.empty(1 + shape[0] * shape[1], T, 3, dtype=torch.uint8, device=frames.device)
    laid[0] = FILL
    padded = laid[1:].view(shape)
    inner = padded[MARGIN:-MARGIN, MARGIN:-MARGIN]
    for channel in range(3):  # one by one: copying three values at a time takes longer
        inner[..., channel] = frames[..., channel].permute(1, 2, 0)
    padded[:MARGIN], padded[-MARGIN:] = padded[MARGIN], padded[-MARGIN - 1]
    padded[:, :MARGIN] = padded[:, MARGIN : MARGIN + 1]
    padded[:, -MARGIN:] = padded[:, -MARGIN - 1 : -MARGIN]
    return laid.float()


def _taps(points: Tensor, kernel: Kernel) -> tuple[Tensor, list[Tensor]]:
    """The first pixel [P] (whole) of each point, and the weights [P] (float32) of the kernel's pixels."""
    points = points - 0.5
    first = points.floor()
    return first, kernel.weights((points - first).float())


def _weighted_sums(pixels: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Sums [P, T·3] of the K rows of pixels [H·W, T·3] at index [P, K], by weights [P, K]."""
    if pixels.device.type in ("cpu", "cuda"):
        return F.embedding_bag(index, pixels, per_sample_weights=weights, mode="sum")
    # Not every version of torch has it elsewhere.
    return sum(pixels[index[:, k]] * weights[:, k : k + 1] for k in range(index.shape[1]))
