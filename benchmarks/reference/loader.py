"""The plain way to load clips, in the order of PySlowFast and its forks: what tools/benchmark.py data
measures against. Nothing else uses it.

All frames of the clip's span are decoded and converted, every view goes through Pillow frame by frame, and
float32 begins before the crop. The numbers of a view (ops, boxes, mirroring) are given, so that both ways do
the same to the same clips. T frames, H W pixels, S side of a view.
"""

from collections.abc import Callable, Sequence
from typing import Any

import av
import numpy
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.nn import functional as F

MEAN, STD = 0.45, 0.225
# In units of the stream's time base: PySlowFast seeks that much before the clip.
SEEK_MARGIN = 1024
FILL = (128, 128, 128)


def training_views(path: str, *, start: float, span: float, num_frames: int, plans: Sequence[Any]) -> Tensor:
    """Views [V, 3, T, S, S] float32 of the clip of `span` frames from `start`, one of every plan."""
    return augment_views(clip(path, start=start, span=span, num_frames=num_frames), plans)


def training_views_from_images(paths: Sequence[str], plans: Sequence[Any]) -> Tensor:
    """As `training_views`, of a clip whose frames are picture files."""
    return augment_views(read_images(paths), plans)


def augment_views(frames: Tensor, plans: Sequence[Any]) -> Tensor:
    """Frames [T, H, W, 3] uint8 -> views [V, 3, T, S, S] float32."""
    return torch.stack([augment(frames, plan) for plan in plans])


def test_view(
    path: str, *, start: float, span: float, num_frames: int, short_size: int, crop_size: int, crop: int
) -> Tensor:
    """One view [3, T, S, S] float32 of a test, for which the video is decoded again; crop 0 to 2 along the
    longer side.
    """
    frames = normalize(clip(path, start=start, span=span, num_frames=num_frames).float() / 255)
    clip_first = frames.permute(3, 0, 1, 2)  # 3 T H W
    height, width = clip_first.shape[2:]
    scale = short_size / min(height, width)
    size = (short_size, int(width * scale)) if height < width else (int(height * scale), short_size)
    resized = F.interpolate(clip_first, size=size, mode="bilinear", align_corners=False)
    top, left = -(-(size[0] - crop_size) // 2), -(-(size[1] - crop_size) // 2)
    if width > height:
        left = (0, left, size[1] - crop_size)[crop]
    else:
        top = (0, top, size[0] - crop_size)[crop]
    return resized[:, :, top : top + crop_size, left : left + crop_size]


def clip(path: str, *, start: float, span: float, num_frames: int) -> Tensor:
    """Frames [T, H, W, 3] uint8: everything of the span is converted, then some of it is taken."""
    frames = stack(to_rgb(decode_span(path, start, span)))
    positions = torch.linspace(0, span - 1, num_frames).clamp(0, len(frames) - 1).long()
    return frames[positions]


def decode_span(path: str, start: float, span: float) -> list[av.VideoFrame]:
    """The frames from `start` to the first after the span, decoded from the keyframe before; all frames of a
    file that does not say its length.
    """
    with open_container(path) as container:
        stream = container.streams.video[0]
        if not stream.frames or not stream.duration:
            return list(container.decode(stream))[int(start) :]
        frame_time = stream.duration / stream.frames
        offset = stream.start_time or 0
        first, last = offset + int(start * frame_time), offset + int((start + span - 1) * frame_time)
        container.seek(max(first - SEEK_MARGIN, 0), any_frame=False, backward=True, stream=stream)
        frames = {}
        for frame in container.decode(stream):
            if frame.pts < first:
                continue
            frames[frame.pts] = frame
            if frame.pts > last:
                break
        return [frames[time] for time in sorted(frames)]


def open_container(path: str) -> av.container.InputContainer:
    """An opened file whose video one thread decodes."""
    container = av.open(path)
    container.streams.video[0].thread_count, container.streams.video[0].thread_type = 1, "SLICE"
    return container


def decode_all(path: str) -> Tensor:
    """All frames of a video [T, H, W, 3] uint8, in the order of their times."""
    with open_container(path) as container:
        stream = container.streams.video[0]
        frames = sorted(container.decode(stream), key=lambda frame: frame.pts)
        return stack(to_rgb(frames))


def to_rgb(frames: Sequence[av.VideoFrame]) -> list[numpy.ndarray]:
    """Arrays [H, W, 3] uint8 of decoded frames."""
    return [frame.to_ndarray(format="rgb24") for frame in frames]


def stack(arrays: Sequence[numpy.ndarray]) -> Tensor:
    """[T, H, W, 3] uint8."""
    return torch.as_tensor(numpy.stack(arrays))


def read_images(paths: Sequence[str]) -> Tensor:
    """Frames [T, H, W, 3] uint8 of picture files."""
    arrays = []
    for path in paths:
        with Image.open(path) as picture:
            arrays.append(numpy.asarray(picture.convert("RGB")))
    return torch.as_tensor(numpy.stack(arrays))


def augment(frames: Tensor, plan: Any) -> Tensor:
    """A training view [3, T, S, S] float32: ops on the whole frames, normalising, crop, flip, erasing."""
    images = to_images(frames)
    for name, argument in plan.ops:
        images = apply_randaugment(images, name, argument)
    view = crop_and_flip(normalize(from_images(images)).permute(3, 0, 1, 2), plan)  # 3 T S S
    if plan.erasure:
        erase(view, plan.erasure)
    return view


def to_images(frames: Tensor) -> list[Image.Image]:
    """Pillow's images of frames [T, H, W, 3] uint8."""
    return [Image.fromarray(frame.numpy()) for frame in frames]


def apply_randaugment(images: Sequence[Image.Image], name: str, argument: float) -> list[Image.Image]:
    """One op done to every image."""
    return [OPS[name](image, argument) for image in images]


def from_images(images: Sequence[Image.Image]) -> Tensor:
    """[T, H, W, 3] float32, of 0 to 1."""
    channels_first = [torch.from_numpy(numpy.array(image)).permute(2, 0, 1).contiguous() for image in images]
    tensors = [channels.float().div(255) for channels in channels_first]
    return torch.stack(tensors).permute(0, 2, 3, 1)


def normalize(frames: Tensor) -> Tensor:
    """Frames [T, H, W, 3] less the mean, over the deviation."""
    return (frames - torch.full((3,), MEAN)) / torch.full((3,), STD)


def crop_and_flip(clip_first: Tensor, plan: Any) -> Tensor:
    """[3, T, H, W] float32 -> [3, T, S, S]."""
    top, left, height, width = plan.crop
    box = clip_first[:, :, top : top + height, left : left + width]
    view = F.interpolate(box, size=(plan.size, plan.size), mode="bilinear", align_corners=False)
    return view.flip(-1) if plan.flip else view


def erase(view: Tensor, box: tuple[int, int, int, int]) -> None:
    """Noise in a box of all frames."""
    top, left, height, width = box
    view[:, :, top : top + height, left : left + width] = torch.randn(*view.shape[:2], height, width)


def collate(items: Sequence[Tensor]) -> Tensor:
    """Views [N, 3, T, S, S] float32 of several videos, in the memory that a worker shares with the loop."""
    batch = torch.empty(sum(map(len, items)), *items[0].shape[1:])
    torch.cat(list(items), out=batch)
    return batch


def _solarize_add(image: Image.Image, amount: float) -> Image.Image:
    table = [min(255, level + int(amount)) if level < 128 else level for level in range(256)]
    return image.point(table * 3)


def _affine(image: Image.Image, *numbers: float) -> Image.Image:
    kind, kernel = Image.Transform.AFFINE, Image.Resampling.BICUBIC
    return image.transform(image.size, kind, numbers, resample=kernel, fillcolor=FILL)


OPS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Invert": lambda image, _: ImageOps.invert(image),
    "Rotate": lambda image, angle: image.rotate(angle, resample=Image.Resampling.BICUBIC, fillcolor=FILL),
    "Posterize": lambda image, bits: ImageOps.posterize(image, int(bits)),
    "Solarize": lambda image, threshold: ImageOps.solarize(image, int(threshold)),
    "SolarizeAdd": _solarize_add,
    "Color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "Contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "Brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "Sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    "ShearX": lambda image, factor: _affine(image, 1, factor, 0, 0, 1, 0),
    "ShearY": lambda image, factor: _affine(image, 1, 0, 0, factor, 1, 0),
    "TranslateX": lambda image, share: _affine(image, 1, 0, share * image.width, 0, 1, 0),
    "TranslateY": lambda image, share: _affine(image, 1, 0, 0, 0, 1, share * image.height),
}
