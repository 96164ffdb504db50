"""How MorphMLP cuts maps and widths: lengths of chunks, groups of channels, positions of time."""

import math

from slowfast_mlp.layers.clip_size import divisors, map_sizes

RELEASED_CHUNK_LENS = (14, 28, 28, 49)
# Chunk length as rows of the stage's map; None is the whole map. At 224 pixels this is RELEASED_CHUNK_LENS.
CHUNK_ROWS = (0.25, 1, 2, None)


def num_time_positions(num_frames: int) -> int:
    """Time positions after the stem, whose kernel of 3 goes over the frames with stride 2."""
    return (num_frames - 1) // 2 + 1


def resolve_chunk_lens(
    crop_size: int, dims: tuple[int, ...], requested: tuple[int, ...] | None
) -> tuple[int, ...]:
    """The chunk length of every stage, requested or derived. Raises ValueError if it does not fit."""
    lens = requested or _derive_chunk_lens(crop_size, dims)
    legal = [divisors(math.gcd(size * size, dim)) for size, dim in zip(map_sizes(crop_size), dims)]
    if lens is None:
        valid = [size for size in range(32, 513, 4) if _derive_chunk_lens(size, dims)]
        raise ValueError(
            f"DATA.TRAIN_CROP_SIZE {crop_size}: the maps of {map_sizes(crop_size)} tokens a side cannot be "
            f"cut into chunks that divide the widths {tuple(dims)}. Use one of {valid}, or set "
            f"MODEL.ARGS.chunk_lens; for this crop the legal lengths by stage are {legal}."
        )
    for stage, (length, allowed) in enumerate(zip(lens, legal), start=1):
        if length not in allowed:
            raise ValueError(
                f"MODEL.ARGS.chunk_lens {list(lens)}: {length} in stage {stage} does not divide both its "
                f"tokens (at DATA.TRAIN_CROP_SIZE {crop_size}) and its width. Use one of {allowed}."
            )
    return tuple(lens)


def _derive_chunk_lens(crop_size: int, dims: tuple[int, ...]) -> tuple[int, ...] | None:
    """The released lengths, else those of the same share of the map, else None."""
    sizes = map_sizes(crop_size)
    shares = [size * size if rows is None else size * rows for size, rows in zip(sizes, CHUNK_ROWS)]
    for lens in (RELEASED_CHUNK_LENS, shares):
        if all(L % 1 == 0 and size * size % L == dim % L == 0 for size, dim, L in zip(sizes, dims, lens)):
            return tuple(int(L) for L in lens)
    return None


def resolve_temporal_groups(
    num_frames: int, dims: tuple[int, ...], requested: tuple[int, ...] | None
) -> tuple[int, ...]:
    """The number of channel groups of the temporal mixing of every stage, requested or derived, checked with
    the widths. Raises ValueError.
    """
    positions = num_time_positions(num_frames)
    if positions < 2:
        raise ValueError(f"DATA.NUM_FRAMES {num_frames}: use 1 for the image model, or 3 and more for video.")
    groups = requested or [max(n for n in divisors(dim) if n <= positions) for dim in dims]
    for stage, (dim, num_groups) in enumerate(zip(dims, groups), start=1):
        if dim % num_groups:
            raise ValueError(
                f"MODEL.ARGS.temporal_groups {list(groups)}: {num_groups} in stage {stage} does not divide "
                f"its width {dim}. Use one of {divisors(dim)}."
            )
    return tuple(groups)
