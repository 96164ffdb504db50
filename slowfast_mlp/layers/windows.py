"""Windows that tile the token maps of a backbone with four stages: derived from the crop or checked, and cut.

Axes: B batch, T time, H W space, R windows of a frame, N tokens of a window, C channels.
"""

import math
from collections.abc import Callable

from torch import Tensor

from slowfast_mlp.layers.clip_size import NUM_STAGES, divisors, map_sizes

RELEASED_WINDOWS = (14, 14, 14, 7)
# Side of the window as a share of the stage's map; at 224 pixels this is RELEASED_WINDOWS.
WINDOW_FRACTIONS = (4, 2, 1, 1)


def resolve_window_sizes(crop_size: int, requested: tuple[int, ...] | None) -> tuple[int, ...]:
    """The side of the windows of every stage; each must divide its map.

    Without `requested` they are the released 14, 14, 14, 7 where these fit, else the same share of the map: a
    quarter, a half, all, all of its side. Raises ValueError that names the crop or MODEL.ARGS.windows.
    """
    sides = requested or _derive_window_sizes(crop_size)
    if sides is None:
        valid = [size for size in range(32, 513, 4) if _derive_window_sizes(size)]
        raise ValueError(
            f"DATA.TRAIN_CROP_SIZE {crop_size}: no windows tile the maps of {map_sizes(crop_size)} tokens a "
            f"side. Use one of {valid}, or set MODEL.ARGS.windows to one of "
            f"{[divisors(size) for size in map_sizes(crop_size)]} by stage."
        )
    for stage, (side, size) in enumerate(zip(sides, map_sizes(crop_size)), start=1):
        if size % side:
            raise ValueError(
                f"MODEL.ARGS.windows {list(sides)}: {side} in stage {stage} does not divide its map of "
                f"{size} tokens a side (DATA.TRAIN_CROP_SIZE {crop_size}). Use one of {divisors(size)}."
            )
    return tuple(sides)


def temporal_windows(num_frames: int, requested: tuple[int, ...] | None) -> tuple[int, ...]:
    """The length of the temporal windows of every stage; each must divide the frames.

    Without `requested` they are all frames. Raises ValueError with the frames or MODEL.ARGS.time_windows.
    """
    if num_frames < 1:
        raise ValueError(f"DATA.NUM_FRAMES {num_frames}: use 1 for the image model, or more for video.")
    if requested is None or num_frames == 1:
        return (num_frames,) * NUM_STAGES
    for stage, length in enumerate(requested, start=1):
        if num_frames % length:
            step = math.lcm(*requested)
            valid = [step * n for n in range(1, max(1, 64 // step) + 1)]
            raise ValueError(
                f"DATA.NUM_FRAMES {num_frames} is not divisible by {length}, MODEL.ARGS.time_windows "
                f"{list(requested)} in stage {stage}. Use 1 or one of {valid}, or time windows of "
                f"{divisors(num_frames)}."
            )
    return tuple(requested)


def window_partition(x: Tensor, side: int) -> Tensor:
    """[B, T, H, W, C] -> [B, R, T, N, C], N = side², in raster order; a view if the window is the map."""
    B, T, H, W, C = x.shape
    cut = x.view(B, T, H // side, side, W // side, side, C).permute(0, 2, 4, 1, 3, 5, 6)
    return cut.reshape(B, -1, T, side * side, C)


def window_reverse(x: Tensor, side: int, height: int) -> Tensor:
    """[B, R, T, N, C] -> [B, T, H, W, C]: undoes window_partition for maps of `height` tokens."""
    B, R, T, _, C = x.shape
    rows = height // side
    cut = x.view(B, rows, R // rows, T, side, side, C).permute(0, 3, 1, 4, 2, 5, 6)
    return cut.reshape(B, T, height, -1, C)


def by_window(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Applies a layer of maps, [B, T, H, W, C] -> [B, T, H, W, C'], to every square window as a map of its
    own: [B, R, T, N, C] -> [B, R, T, N, C'].
    """
    side = math.isqrt(x.shape[3])
    maps = x.flatten(0, 1).unflatten(2, (side, side))  # BR T W W C
    return layer(maps).flatten(2, 3).unflatten(0, x.shape[:2])


def _derive_window_sizes(crop_size: int) -> tuple[int, ...] | None:
    """The released windows, else those of the same share of the map, else None."""
    sizes = map_sizes(crop_size)
    if all(size % side == 0 for size, side in zip(sizes, RELEASED_WINDOWS)):
        return RELEASED_WINDOWS
    if all(size and size % share == 0 for size, share in zip(sizes, WINDOW_FRACTIONS)):
        return tuple(size // share for size, share in zip(sizes, WINDOW_FRACTIONS))
    return None
