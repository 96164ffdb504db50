"""Applying AugmentParams to one training view, on the host or on the device.

There are two steps. `augment_exact` or `augment_fused` makes a uint8 view of decoded frames; both run on
any device. `erase` fills the box of random erasing. It is a step of its own because its noise is standard
normal in the model's normalized units, as in timm and PySlowFast: uint8 pixels would clip it to the range of
an image and round it. So it follows normalization, and both steps are called by
`data/device_transform.py` where AUG.MODE is `device`, or the second alone where the host did the first.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from slowfast_mlp.data.transforms.affine import MAPS, Box, warp, warp_through
from slowfast_mlp.data.transforms.augment_params import AugmentParams
from slowfast_mlp.data.transforms.color_ops import (
    HISTOGRAM_LUTS,
    NUM_LEVELS,
    PIXEL_OPS,
    POINT_LUTS,
    apply_lut,
    compose_luts,
    contrast_lut,
    count_after,
    count_levels,
)
from slowfast_mlp.data.transforms.random_erasing import write_noise
from slowfast_mlp.data.transforms.resize_crop import resize

# Ops whose result at a pixel depends on other pixels: they must see the whole frame.
NON_LOCAL_OPS = {*MAPS, *HISTOGRAM_LUTS, "Contrast", "Sharpness"}


def augment_exact(frames: Tensor, params: AugmentParams) -> Tensor:
    """[T, H, W, 3] uint8 -> [T, S, S, 3] uint8: op by op on the whole frames, in the order of the recipe.

    Ops that follow the last non-local op are applied to the crop only. The result is the same, because
    resizing reads no pixel outside the crop.
    """
    if params.crop_first:
        return _augment_view(frames, params)
    last = max((n for n, (name, _) in enumerate(params.ops) if name in NON_LOCAL_OPS), default=-1)
    canvas = Canvas(frames)
    if last < 0:
        canvas.crop(params.crop)
    for position, (name, argument) in enumerate(params.ops):
        canvas.apply(name, argument, box=params.crop if position == last else None)
    return _resize_and_flip(canvas.frames(), params)


def augment_fused(frames: Tensor, params: AugmentParams) -> Tensor:
    """Like `augment_exact` in half the time, with slightly different results: all geometric ops are one
    bilinear map. Color ops follow it, so AutoContrast, Equalize, Contrast and Sharpness see the view instead
    of the whole frame.
    """
    moves = [op for op in params.ops if op[0] in MAPS]
    if params.crop_first:
        return _augment_view(frames, params)
    if moves:
        view = warp_through(frames, moves, params.crop, params.size, params.flip)
    else:
        view = _resize_and_flip(crop_frames(frames, params.crop), params)
    canvas = Canvas(view)
    for name, argument in params.ops:
        if name not in MAPS:
            canvas.apply(name, argument)
    return canvas.frames()


def erase(clips: Tensor, params: Sequence[AugmentParams]) -> None:
    """Random erasing of normalized clips [N, 3, T, S, S], in place; clip n has params n."""
    for clip, clip_params in zip(clips, params):
        if clip_params.erasure:
            write_noise(clip, clip_params.erasure, clip_params.noise_seed)


# AUG.MODE -> the augmentation on the host; in mode `device` the host does none.
HOST_MODES: dict[str, Callable[[Tensor, AugmentParams], Tensor]] = {
    "exact": augment_exact,
    "fused": augment_fused,
}


class Canvas:
    """Frames [T, H, W, 3] uint8 to which ops are applied one after the other.

    Ops on gray levels only update a lookup table. It is applied when the next op needs pixels.
    """

    def __init__(self, frames: Tensor):
        self._frames = frames
        self._table: Tensor | None = None
        self._counts: Tensor | None = None  # of self._frames, before the table

    def crop(self, box: Box) -> None:
        """Keeps the box only."""
        self._frames, self._counts = crop_frames(self._frames, box), None

    def frames(self) -> Tensor:
        """The frames with all ops applied."""
        if self._table is not None:
            self._frames, self._table, self._counts = apply_lut(self._frames, self._table), None, None
        return self._frames

    def apply(self, name: str, argument: float, box: Box | None = None) -> None:
        """Applies a RandAugment op; with a `box`, only that box of the result is computed."""
        if name in MAPS:
            frames = self.frames()
            height, width = frames.shape[1:3]
            self._frames = warp(frames, MAPS[name](argument, height, width), box or (0, 0, height, width))
            self._counts = None
            return
        if name in POINT_LUTS:
            levels = torch.arange(NUM_LEVELS, device=self._frames.device)
            self._add(POINT_LUTS[name](levels, argument).to(torch.uint8).reshape(1, 1, NUM_LEVELS))
        elif name in HISTOGRAM_LUTS:
            self._add(HISTOGRAM_LUTS[name](self._count()))
        elif name == "Contrast":
            self._add(contrast_lut(self.frames(), argument))
        else:
            self._frames, self._counts = PIXEL_OPS[name](self.frames(), argument), None
        if box:
            self.crop(box)

    def _add(self, table: Tensor) -> None:
        self._table = table if self._table is None else compose_luts(self._table, table)

    def _count(self) -> Tensor:
        """Histograms [T, 3, 256] of the frames after the table, without reading the frames again."""
        if self._counts is None:
            self._counts = count_levels(self._frames)
        return self._counts if self._table is None else count_after(self._counts, self._table)


def crop_frames(frames: Tensor, box: Box) -> Tensor:
    """The box of frames [T, H, W, 3]."""
    top, left, height, width = box
    return frames[:, top : top + height, left : left + width].contiguous()


def _augment_view(frames: Tensor, params: AugmentParams) -> Tensor:
    """Crop, resize and flip, then the ops: [T, H, W, 3] -> [T, S, S, 3]."""
    canvas = Canvas(_resize_and_flip(crop_frames(frames, params.crop), params))
    for name, argument in params.ops:
        canvas.apply(name, argument)
    return canvas.frames()


def _resize_and_flip(frames: Tensor, params: AugmentParams) -> Tensor:
    """[T, h, w, 3] -> [T, S, S, 3]."""
    size = params.size, params.size
    frames = resize(frames, size, antialias=params.crop_first, interpolation=params.interpolation)
    return frames.flip(2) if params.flip else frames
