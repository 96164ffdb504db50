"""Color ops on uint8 frames [T, H, W, 3], bit-identical to Pillow's.

An op that maps one level to another is a lookup table. Consecutive tables are composed, so the frames are
read once for all of them. A table is [1 or T, 1 or 3, 256] uint8: shared by all frames and channels, or one
each.
"""

from collections.abc import Callable

import numpy
import torch
from torch import Tensor

NUM_LEVELS = 256
# Pillow's weights of red, green and blue in a gray level, over 2^16.
GRAY = (19595, 38470, 7471)


def _levels(device: torch.device) -> Tensor:
    return torch.arange(NUM_LEVELS, device=device)


def _solarize(levels: Tensor, threshold: float) -> Tensor:
    return torch.where(levels < threshold, levels, 255 - levels)


def _solarize_add(levels: Tensor, amount: float) -> Tensor:
    return torch.where(levels < 128, (levels + int(amount)).clamp(max=255), levels)


def _posterize(levels: Tensor, bits: float) -> Tensor:
    return levels & (256 - 2 ** (8 - min(8, int(bits))))


# Name -> function of the levels 0 to 255 and the argument.
POINT_LUTS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "Invert": lambda levels, _: 255 - levels,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Brightness": lambda levels, factor: _blend(torch.zeros_like(levels), levels, factor),
}


def autocontrast_lut(counts: Tensor) -> Tensor:
    """Table [T, 3, 256] of AutoContrast from histograms [T, 3, 256]: darkest to 0, brightest to 255."""
    # fp32 where the device has no fp64 (Apple's).
    dtype = torch.float32 if counts.device.type == "mps" else torch.float64
    levels = _levels(counts.device)
    found = counts > 0
    low = torch.where(found, levels, 255).amin(dim=2, keepdim=True)
    high = torch.where(found, levels, 0).amax(dim=2, keepdim=True)
    scale = 255.0 / (high - low).clamp(min=1).to(dtype)
    table = (levels * scale + -low * scale).clamp(0, 255)
    return torch.where(high > low, table.long(), levels).to(torch.uint8)


def equalize_lut(counts: Tensor) -> Tensor:
    """Table [T, 3, 256] of Equalize from histograms [T, 3, 256]."""
    levels = _levels(counts.device)
    last = torch.where(counts > 0, levels, 0).amax(dim=2, keepdim=True)
    step = (counts.sum(dim=2, keepdim=True) - counts.gather(2, last)) // 255
    below = counts.cumsum(dim=2) - counts
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, table, levels).to(torch.uint8)


HISTOGRAM_LUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "AutoContrast": autocontrast_lut,
    "Equalize": equalize_lut,
}


def contrast_lut(frames: Tensor, factor: float) -> Tensor:
    """Table [T, 1, 256] of Contrast: blends with the mean gray level of each frame."""
    sums = [_gray_of(_planes(part)).int().sum(dim=(1, 2)) for part in _parts(frames)]
    num_pixels = frames.shape[1] * frames.shape[2]
    mean = (2 * torch.cat(sums) + num_pixels) // (2 * num_pixels)  # T, rounded
    return _blend(mean.reshape(-1, 1, 1), _levels(frames.device), factor)


def adjust_color(frames: Tensor, factor: float) -> Tensor:
    """[T, H, W, 3] -> the same shape: blends with the gray level of each pixel."""
    colored = torch.empty_like(frames)
    for part, result in zip(_parts(frames), _parts(colored)):
        planes = _planes(part)
        values = _blend(_gray_of(planes), planes, factor)
        result.copy_(values.permute(1, 2, 3, 0))
    return colored


def sharpen(frames: Tensor, factor: float) -> Tensor:
    """[T, H, W, 3] -> the same shape: blends with a 3x3 smoothing; the border is unchanged."""
    if min(frames.shape[1:3]) < 3:
        return frames
    return torch.cat([_sharpen_frames(part, factor) for part in _parts(frames)])


def _sharpen_frames(frames: Tensor, factor: float) -> Tensor:
    values = frames.short()
    sums = (values[:, :-2] + values[:, 1:-1]).add_(values[:, 2:])
    sums = (sums[:, :, :-2] + sums[:, :, 1:-1]).add_(sums[:, :, 2:])
    inner = values[:, 1:-1, 1:-1]
    smooth = sums.add_(inner, alpha=4).float().mul_(1 / 13).add_(0.5).floor_()
    frames = frames.clone()
    frames[:, 1:-1, 1:-1] = _blend(smooth, inner, factor)
    return frames


PIXEL_OPS: dict[str, Callable[[Tensor, float], Tensor]] = {"Color": adjust_color, "Sharpness": sharpen}


def count_levels(frames: Tensor) -> Tensor:
    """Histograms of every frame and channel: [T, H, W, 3] -> [T, 3, 256]."""
    T = len(frames)
    if frames.device.type == "cpu":
        planes = frames.reshape(T, -1, 3)  # counted one by one, as bytes: no keys have to be made
        counts = [
            torch.bincount(plane, minlength=NUM_LEVELS) for frame in planes for plane in frame.unbind(1)
        ]
        return torch.stack(counts).reshape(T, 3, NUM_LEVELS)
    keys = _keys(frames, T, 3)  # bincount would wait for the device
    counts = torch.zeros(T * 3 * NUM_LEVELS, dtype=torch.int64, device=frames.device)
    one = torch.ones((), dtype=torch.int64, device=frames.device)
    counts.scatter_add_(0, keys.long(), one.expand(len(keys)))
    return counts.reshape(T, 3, NUM_LEVELS)


def count_after(counts: Tensor, table: Tensor) -> Tensor:
    """The histograms [T, 3, 256] of the frames after the table is applied."""
    return torch.zeros_like(counts).scatter_add_(2, table.long().expand_as(counts), counts)


def compose_luts(first: Tensor, second: Tensor) -> Tensor:
    """The table that applies `first`, then `second`."""
    shape = torch.broadcast_shapes(first.shape, second.shape)
    return second.expand(shape).gather(2, first.long().expand(shape))


def apply_lut(frames: Tensor, table: Tensor) -> Tensor:
    """[T, H, W, 3] -> the same shape, every level replaced by its entry in the table."""
    if frames.device.type == "cpu" and table.shape[1] == 1:
        return _translate(frames, table)
    keys = _keys(frames, *table.shape[:2])
    return table.flatten().index_select(0, keys).reshape(frames.shape)


def _translate(frames: Tensor, table: Tensor) -> Tensor:
    """As `apply_lut` with a table [1 or T, 1, 256]; `bytes.translate` is twice as fast as indexing."""
    parts = frames.numpy().reshape(len(table), -1)
    translated = [part.tobytes().translate(one.tobytes()) for part, one in zip(parts, table.numpy())]
    values = numpy.concatenate([numpy.frombuffer(part, numpy.uint8) for part in translated])
    return torch.from_numpy(values).reshape(frames.shape)


def _keys(frames: Tensor, num_tables: int, num_channels: int) -> Tensor:
    """The index into the flattened table of every value [T·H·W·3]."""
    T, height, width, _ = frames.shape
    keys = frames.int()
    if num_tables * num_channels > 1:
        start = torch.arange(num_tables * num_channels, device=frames.device, dtype=torch.int32) * NUM_LEVELS
        # A row at a time: adding three values at a time takes five times as long.
        rows = start.reshape(num_tables, 1, num_channels).expand(-1, width, 3).reshape(num_tables, 1, -1)
        keys = keys.reshape(T, height, width * 3).add_(rows)
    return keys.flatten()


def _parts(frames: Tensor) -> tuple[Tensor, ...]:
    """The frames in chunks: on a CPU one frame, which fits into its cache."""
    return frames.split(1 if frames.device.type == "cpu" else len(frames))


def _planes(frames: Tensor) -> Tensor:
    """[T, H, W, 3] uint8 -> [3, T, H, W] float32."""
    return frames.permute(3, 0, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)


def _gray_of(planes: Tensor) -> Tensor:
    """[3, T, H, W] float32 of whole numbers -> [T, H, W] float32; exact, as no sum reaches 2^24."""
    red, green, blue = planes
    gray = red.mul(GRAY[0]).add_(green, alpha=GRAY[1]).add_(blue, alpha=GRAY[2])
    return gray.add_(1 << 15).mul_(2**-16).floor_()


def _blend(start: Tensor, end: Tensor, factor: float) -> Tensor:
    """start + factor · (end - start), truncated to integer levels; in fp32 as in Pillow."""
    start = start.float()
    return (end.float() - start).mul_(factor).add_(start).clamp_(0, 255).to(torch.uint8)
