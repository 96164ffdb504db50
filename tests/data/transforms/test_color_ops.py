"""Every op of RandAugment against Pillow, which the papers' code uses, frame by frame."""

import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from slowfast_mlp.data.transforms.augment import Canvas
from slowfast_mlp.data.transforms.color_ops import count_levels


def speckled(num_frames=2, height=37, width=50):
    """Frames of noise, as hard as frames can be; the first is dark, so that frames have other histograms."""
    frames = torch.randint(0, 256, (num_frames, height, width, 3), generator=torch.Generator().manual_seed(0))
    frames[0] = frames[0] // 3 + 20
    return frames.to(torch.uint8)


def plain():
    """A frame of one colour, and one of two."""
    frames = torch.full((2, 8, 9, 3), 77, dtype=torch.uint8)
    frames[1, :4] = 200
    return frames


def in_pillow(frames, function):
    images = [Image.fromarray(frame.numpy()) for frame in frames]
    return torch.stack(
        [
            torch.frombuffer(bytearray(function(image).tobytes()), dtype=torch.uint8).reshape(frame.shape)
            for image, frame in zip(images, frames)
        ]
    )


def ours(frames, *ops):
    canvas = Canvas(frames)
    for name, argument in ops:
        canvas.apply(name, argument)
    return canvas.frames()


def solarize_add(image, amount):
    return image.point([min(255, n + amount) if n < 128 else n for n in range(256)] * 3)


def affine(image, *numbers):
    return image.transform(
        image.size, Image.Transform.AFFINE, numbers, Image.Resampling.BICUBIC, fillcolor=(128,) * 3
    )


PILLOW = {
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Invert": lambda image, _: ImageOps.invert(image),
    "Posterize": lambda image, bits: ImageOps.posterize(image, bits),
    "Solarize": lambda image, threshold: ImageOps.solarize(image, threshold),
    "SolarizeAdd": solarize_add,
    "Color": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "Contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "Brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "Sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    "Rotate": lambda image, degrees: image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(128,) * 3),
    "ShearX": lambda image, factor: affine(image, 1, factor, 0, 0, 1, 0),
    "ShearY": lambda image, factor: affine(image, 1, 0, 0, factor, 1, 0),
    "TranslateX": lambda image, share: affine(image, 1, 0, share * image.size[0], 0, 1, 0),
    "TranslateY": lambda image, share: affine(image, 1, 0, 0, 0, 1, share * image.size[1]),
}
ENHANCED = [0.1, 0.37, 1.0, 1.63, 1.9]
EXACT = [
    *((name, 0) for name in ("AutoContrast", "Equalize", "Invert")),
    *(("Posterize", bits) for bits in (1, 2, 4, 8)),
    *(("Solarize", threshold) for threshold in (0, 77, 256)),
    *(("SolarizeAdd", amount) for amount in (0, 77, 110)),
    *((name, factor) for name in ("Color", "Contrast", "Brightness", "Sharpness") for factor in ENHANCED),
]


@pytest.mark.parametrize("frames", [speckled(), plain()], ids=["speckled", "plain"])
@pytest.mark.parametrize(("name", "argument"), EXACT)
def test_ops_on_levels_and_colours_equal_pillows_to_the_last_bit(name, argument, frames):
    expected = in_pillow(frames, lambda image: PILLOW[name](image, argument))
    assert torch.equal(ours(frames, (name, argument)), expected)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        *(("Rotate", degrees) for degrees in (-30, -7.3, 0, 21)),
        *((name, factor) for name in ("ShearX", "ShearY") for factor in (-0.3, 0.21)),
        *((name, share) for name in ("TranslateX", "TranslateY") for share in (-0.45, 0.113)),
    ],
)
def test_moved_frames_equal_pillows_but_for_a_level_in_few_pixels(name, argument):
    frames = speckled()
    expected = in_pillow(frames, lambda image: PILLOW[name](image, argument))
    difference = (ours(frames, (name, argument)).int() - expected.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.005
    flat = torch.full((1, 20, 30, 3), 77, dtype=torch.uint8)
    moved = ours(flat, (name, argument))
    assert set(moved.unique().tolist()) <= {77, 128}


@pytest.mark.parametrize(
    "names",
    [
        ("Invert", "Posterize", "Equalize", "Solarize"),
        ("Solarize", "AutoContrast", "AutoContrast", "SolarizeAdd"),
        ("Brightness", "Contrast", "Equalize", "Invert"),
        ("Equalize", "Color", "AutoContrast", "Brightness"),
        ("Contrast", "Sharpness", "SolarizeAdd", "Equalize"),
    ],
)
def test_tables_made_one_give_what_pillow_gives_one_after_the_other(names):
    arguments = {"Posterize": 2, "Solarize": 90, "SolarizeAdd": 60}
    ops = [(name, arguments.get(name, 1.4)) for name in names]
    frames = speckled()

    def all_of_them(image):
        for name, argument in ops:
            image = PILLOW[name](image, argument)
        return image

    assert torch.equal(ours(frames, *ops), in_pillow(frames, all_of_them))


def test_levels_are_counted_by_frame_and_channel():
    frames = torch.zeros(2, 2, 2, 3, dtype=torch.uint8)
    frames[1, 0, 0] = torch.tensor([7, 7, 255])
    counts = count_levels(frames)
    assert counts.shape == (2, 3, 256)
    assert counts[0, :, 0].tolist() == [4, 4, 4] and counts[1, :, 0].tolist() == [3, 3, 3]
    assert (counts[1, 0, 7], counts[1, 1, 7], counts[1, 2, 255]) == (1, 1, 1)
