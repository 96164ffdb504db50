"""What is done to the frames of one training view: a plan of numbers, drawn on the host, and its carrying out
on the host or on the device.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from slowfast_mlp.data.transforms.affine import MAPS, Box, warp, warp_through
from slowfast_mlp.data.transforms.color_ops import (
    COUNTED_TABLES,
    FIXED_TABLES,
    NUM_LEVELS,
    PIXEL_OPS,
    contrasted,
    count_after,
    count_levels,
    join,
    look_up,
)
from slowfast_mlp.data.transforms.randaugment import Op, RandAugment
from slowfast_mlp.data.transforms.random_erasing import draw_erasure
from slowfast_mlp.data.transforms.resize_crop import random_box, resize

# What an op makes of a pixel depends on others: it must see the whole frame.
LOOKS_AROUND = {*MAPS, *COUNTED_TABLES, "Contrast", "Sharpness"}
MAX_NOISE_SEED = 2**62


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One training view as numbers: ops on the frames as decoded, then the crop that is resized, the
    mirroring, and what is erased in the end. The view has `size` pixels a side.

    `erasure` is a box of the finished view, filled with noise of `noise_seed`. With `crop_first` the crop is
    resized with antialiasing and mirrored before the ops, which then see the view alone. `interpolation` is
    that of `resize`.
    """

    ops: tuple[Op, ...]
    crop: Box
    size: int
    flip: bool
    erasure: Box | None
    noise_seed: int
    crop_first: bool = False
    interpolation: str = "auto"


@dataclass(frozen=True, kw_only=True)
class PlanDrawer:
    """Draws plans. `area`: range of the crop's share of the frame; `aspect`: range of its width over its
    height, uniform in the logarithm.

    `color_jitter` j changes brightness, contrast and colour in random order by factors of 1 - j to 1 + j; it
    is left out beside RandAugment, as in timm and PySlowFast. `crop_first` is the order of timm's recipes for
    pictures (DeiT); video recipes change the frames as decoded and crop them then. The `interpolation` may be
    random: bilinear or bicubic, drawn for every view.
    """

    crop_size: int
    area: tuple[float, float]
    aspect: tuple[float, float]
    flip: bool
    randaugment: RandAugment | None = None
    color_jitter: float = 0.0
    erase_prob: float = 0.0
    crop_first: bool = False
    interpolation: str = "auto"

    def __call__(self, height: int, width: int, generator: torch.Generator) -> Plan:
        """The plan of a view of frames of this size."""
        crop = random_box(height, width, self.area, self.aspect, generator)
        flip = bool(self.flip and torch.rand((), generator=generator) < 0.5)
        ops: tuple[Op, ...] = ()
        if self.randaugment:
            ops = self.randaugment.draw(generator)
        elif self.color_jitter:
            ops = draw_color_jitter(self.color_jitter, generator)
        erasure, noise_seed = None, 0
        if self.erase_prob and torch.rand((), generator=generator) < self.erase_prob:
            erasure = draw_erasure(self.crop_size, self.crop_size, generator)
            noise_seed = int(torch.randint(MAX_NOISE_SEED, (), generator=generator))
        interpolation = self.interpolation
        if interpolation == "random":  # drawn last: all else is drawn as without it
            interpolation = "bilinear" if torch.rand((), generator=generator) < 0.5 else "bicubic"
        return Plan(
            ops=ops,
            crop=crop,
            size=self.crop_size,
            flip=flip,
            erasure=erasure,
            noise_seed=noise_seed,
            crop_first=self.crop_first,
            interpolation=interpolation,
        )


def draw_color_jitter(strength: float, generator: torch.Generator) -> tuple[Op, ...]:
    """Brightness, contrast and colour in random order, with factors of 1 - strength to 1 + strength."""
    names = ("Brightness", "Contrast", "Color")
    order = torch.randperm(3, generator=generator).tolist()
    low = max(0.0, 1 - strength)
    draws = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    return tuple((names[n], low + draw * (1 + strength - low)) for n, draw in zip(order, draws))


def augment_exactly(frames: Tensor, plan: Plan) -> Tensor:
    """[T, H, W, 3] uint8 -> [T, S, S, 3] uint8: op by op on the whole frames, in the order of the recipe.

    What comes after the last op that must see the whole frame is done to the crop alone: the result is the
    same, as resizing does not look beyond the crop.
    """
    if plan.crop_first:
        return _augment_view(frames, plan)
    last = max((n for n, (name, _) in enumerate(plan.ops) if name in LOOKS_AROUND), default=-1)
    canvas = Canvas(frames)
    if last < 0:
        canvas.crop(plan.crop)
    for position, (name, argument) in enumerate(plan.ops):
        canvas.apply(name, argument, box=plan.crop if position == last else None)
    return _finish(canvas.frames(), plan)


def augment_fused(frames: Tensor, plan: Plan) -> Tensor:
    """As `augment_exactly`, in half of the time and not quite the same: all that moves pixels is one bilinear
    map, and the ops on colours come after it, so that AutoContrast, Equalize, Contrast and Sharpness see the
    view instead of the whole frame.
    """
    moves = [op for op in plan.ops if op[0] in MAPS]
    if plan.crop_first:
        return _augment_view(frames, plan)
    if moves:
        view = warp_through(frames, moves, plan.crop, plan.size, plan.flip)
    else:
        view = _finish(crop_frames(frames, plan.crop), plan)
    canvas = Canvas(view)
    for name, argument in plan.ops:
        if name not in MAPS:
            canvas.apply(name, argument)
    return canvas.frames()


# AUG.MODE -> what the host does; for `device` it does nothing.
HOST_MODES: dict[str, Callable[[Tensor, Plan], Tensor]] = {"exact": augment_exactly, "fused": augment_fused}


class Canvas:
    """Frames [T, H, W, 3] uint8 to which ops are done one after the other.

    Ops on grey levels only change a table; the frames are read when an op needs their pixels.
    """

    def __init__(self, frames: Tensor):
        self._frames = frames
        self._table: Tensor | None = None
        self._counts: Tensor | None = None  # of the frames as they are, before the table

    def crop(self, box: Box) -> None:
        """Leaves the box alone."""
        self._frames, self._counts = crop_frames(self._frames, box), None

    def frames(self) -> Tensor:
        """The frames with everything done."""
        if self._table is not None:
            self._frames, self._table, self._counts = look_up(self._frames, self._table), None, None
        return self._frames

    def apply(self, name: str, argument: float, box: Box | None = None) -> None:
        """Does an op of RandAugment; with a `box`, only the box of its result is made."""
        if name in MAPS:
            frames = self.frames()
            height, width = frames.shape[1:3]
            self._frames = warp(frames, MAPS[name](argument, height, width), box or (0, 0, height, width))
            self._counts = None
            return
        if name in FIXED_TABLES:
            levels = torch.arange(NUM_LEVELS, device=self._frames.device)
            self._add(FIXED_TABLES[name](levels, argument).to(torch.uint8).reshape(1, 1, NUM_LEVELS))
        elif name in COUNTED_TABLES:
            self._add(COUNTED_TABLES[name](self._count()))
        elif name == "Contrast":
            self._add(contrasted(self.frames(), argument))
        else:
            self._frames, self._counts = PIXEL_OPS[name](self.frames(), argument), None
        if box:
            self.crop(box)

    def _add(self, table: Tensor) -> None:
        self._table = table if self._table is None else join(self._table, table)

    def _count(self) -> Tensor:
        """[T, 3, 256] of the frames with the table looked up, without reading them again."""
        if self._counts is None:
            self._counts = count_levels(self._frames)
        return self._counts if self._table is None else count_after(self._counts, self._table)


def crop_frames(frames: Tensor, box: Box) -> Tensor:
    """The box of frames [T, H, W, 3]."""
    top, left, height, width = box
    return frames[:, top : top + height, left : left + width].contiguous()


def _augment_view(frames: Tensor, plan: Plan) -> Tensor:
    """The crop, and the ops on what is made of it: [T, H, W, 3] -> [T, S, S, 3]."""
    canvas = Canvas(_finish(crop_frames(frames, plan.crop), plan))
    for name, argument in plan.ops:
        canvas.apply(name, argument)
    return canvas.frames()


def _finish(frames: Tensor, plan: Plan) -> Tensor:
    """Resized, and mirrored if so: [T, h, w, 3] -> [T, S, S, 3]."""
    size = plan.size, plan.size
    frames = resize(frames, size, antialias=plan.crop_first, interpolation=plan.interpolation)
    return frames.flip(2) if plan.flip else frames
