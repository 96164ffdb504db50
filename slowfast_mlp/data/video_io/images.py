"""Decodes an image into an upright RGB frame: plain JPEGs with torchvision, all others with Pillow."""

import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

try:
    from torchvision.io import ImageReadMode, decode_jpeg
except ImportError:  # deprecated since torchvision 0.29; Pillow gives the same pixels
    decode_jpeg = None

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# With a short side of 256 the other is at most 25,600 pixels. Without a limit, a one-pixel line would be
# resized to fill the memory.
MAX_ASPECT = 100
# JPEG markers: EXIF or XMP, Adobe, and start of frame from baseline to progressive.
APP1, APP14 = 0xE1, 0xEE
FRAME_MARKERS = (0xC0, 0xC1, 0xC2)
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
TURNED_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Exceptions that Pillow raises for truncated or damaged files.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    TypeError,
    struct.error,
    zlib.error,
    MemoryError,
    Image.DecompressionBombError,
)


class ImageError(Exception):
    """Bytes that are not an image, or a damaged one; the message has the reason."""


def is_image(path: str) -> bool:
    """Whether a file name has the suffix of an image."""
    return path.lower().endswith(SUFFIXES)


def image_names(names: Iterable[str]) -> list[str]:
    """The names of images, sorted, without hidden files such as macOS's `._1.JPEG`."""
    return sorted(name for name in names if is_image(name) and not name.startswith("."))


def decode_image(data: bytes) -> Tensor:
    """A frame [H, W, 3] uint8 RGB, rotated by its EXIF orientation, as in a browser.

    Grayscale and CMYK are converted to RGB, 16 bits to 8; alpha is dropped. Raises ImageError.
    """
    frame = _decode_plain_jpeg(data)
    return _decode_any(data) if frame is None else frame


def _decode_plain_jpeg(data: bytes) -> Tensor | None:
    """The frame of a JPEG of three colors that needs no correction, else None.

    Takes little more than half of Pillow's time, with the same bytes, as both use libjpeg-turbo.
    """
    size = _plain_jpeg_size(data) if decode_jpeg else None
    if size is None:
        return None
    _check_aspect(*size)
    try:
        pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
    except (RuntimeError, AttributeError):  # damaged, or a torchvision that was built without libjpeg
        return None
    return pixels.permute(1, 2, 0).contiguous()  # no copy: the memory has this order


def _plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG of three colors without EXIF or Adobe's segment, which may rotate it or
    change its color space; None for anything else.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (APP1, APP14):
            return None
        if marker in FRAME_MARKERS:
            height, width = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (5, 7))
            return (width, height) if data[at + 4] == 8 and data[at + 9] == 3 and width and height else None
        at += 2 + length
    return None


def _decode_any(data: bytes) -> Tensor:
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_aspect(*image.size)
            image.load()
            turned_by = TURNED_BY.get(_orientation(image))
            image = image if turned_by is None else image.transpose(turned_by)
            if image.mode.startswith("I"):  # 16-bit gray, which Pillow's own conversion would clip
                gray = torch.from_numpy((np.asarray(image) // 256).astype(np.uint8))
                return gray.unsqueeze(-1).expand(-1, -1, 3).contiguous()
            return torch.from_numpy(np.array(image.convert("RGB")))
    except UnidentifiedImageError as error:
        raise ImageError("is no picture that can be read") from error
    except DAMAGED as error:
        raise ImageError(f"is damaged ({error})") from error


def _check_aspect(width: int, height: int) -> None:
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"is {width}x{height}: a side more than {MAX_ASPECT} times the other is no picture of anything"
        )


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation; None if it is missing or cannot be read."""
    try:
        return image.getexif().get(ORIENTATION)
    except DAMAGED:
        return None
