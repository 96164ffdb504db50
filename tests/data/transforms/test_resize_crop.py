"""Boxes as numbers, and views whose pixels can be worked out by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from slowfast_mlp.data.transforms.resize_crop import (
    ViewTransform,
    center_box,
    resize,
    sample_crop_box,
    short_side_size,
    three_boxes,
)


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((240, 320), 256, (256, 341)),
        ((320, 240), 224, (298, 224)),
        ((256, 256), 64, (64, 64)),
        ((72, 96), 64, (64, 85)),
        ((224, 453), 224, (224, 453)),
    ],
)
def test_the_short_side_is_met_and_the_long_one_rounded_down(size, short, expected):
    assert short_side_size(*size, short) == expected


@pytest.mark.parametrize(
    ("size", "boxes"),
    [
        ((224, 341), [(0, 0), (0, 59), (0, 117)]),
        ((224, 340), [(0, 0), (0, 58), (0, 116)]),
        ((341, 224), [(0, 0), (59, 0), (117, 0)]),
        ((224, 224), [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_three_crops_are_left_centre_right_or_top_centre_bottom(size, boxes):
    assert three_boxes(*size, 224) == boxes


def test_the_centre_is_rounded_up():
    assert center_box(256, 341, 224) == [(16, 59)]


def test_one_view_is_the_centre_at_the_short_size_or_the_first_of_three_at_the_crop_size():
    columns = torch.arange(200, dtype=torch.uint8).reshape(1, 1, 200, 1).expand(2, 100, 200, 3)
    settings = dict(crop_size=40, short_size=50)
    one = ViewTransform(num_crops=1, **settings)(columns)
    three = ViewTransform(num_crops=3, **settings)(columns)
    first = ViewTransform(num_crops=1, single_crop="first", **settings)(columns)
    assert torch.equal(first, three[:1])
    assert one.shape == (1, 3, 2, 40, 40) and three.shape == (3, 3, 2, 40, 40)
    # 200 columns at half or two fifths of the size: column x shows about 2x or 2.5x.
    assert one[0, 0, 0, 0, 0] in (60, 61)
    assert [round(float(view[0, 0, 0, 0] / 2.5)) for view in three] == [0, 20, 40]


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    low=st.floats(0.01, 1),
    aspect=st.floats(1, 4),
    seed=st.integers(0, 999),
)
def test_a_random_box_lies_in_the_frame(height, width, low, aspect, seed):
    generator = torch.Generator().manual_seed(seed)
    top, left, box_height, box_width = sample_crop_box(
        height, width, (low, 1.0), (1 / aspect, aspect), generator
    )
    assert top >= 0 and left >= 0 and box_height >= 1 and box_width >= 1
    assert top + box_height <= height and left + box_width <= width


def test_random_boxes_keep_to_the_ranges_of_area_and_aspect():
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        _, _, height, width = sample_crop_box(200, 300, (0.1, 0.5), (0.75, 1.3333), generator)
        assert 0.095 < height * width / 60000 < 0.51
        assert 0.73 < width / height < 1.36


@pytest.mark.parametrize("size", [(37, 61), (101, 23), (30, 40)])
def test_frames_resized_as_uint8_are_within_a_grey_level_of_float32(size):
    frames = torch.randint(0, 256, (2, 30, 40, 3), generator=torch.Generator().manual_seed(0))
    images = frames.permute(0, 3, 1, 2).float()
    expected = F.interpolate(images, size=size, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    resized = resize(frames.to(torch.uint8), size)
    assert (resized.shape, resized.dtype) == ((2, *size, 3), torch.uint8)
    assert (resized - expected).abs().max() <= 1.01
    assert (resized - expected).mean().abs() < 0.05  # rounded, not cut off


def test_a_view_of_a_picture_is_bilinear_where_the_test_interpolation_says_so():
    rows = torch.tensor([50, 50, 50, 50, 50, 150, 150, 150, 150, 150], dtype=torch.uint8)
    picture = rows.reshape(1, 10, 1, 1).expand(-1, -1, 10, 3)
    settings = dict(crop_size=5, short_size=5, num_crops=1, antialias=True)
    views = [ViewTransform(**settings, interpolation=way)(picture) for way in ("auto", "bicubic", "bilinear")]
    auto, bicubic, bilinear = (view[0, 0, 0, :, 0].tolist() for view in views)
    assert bilinear == [50, 50, 100, 150, 150]
    assert auto == bicubic and bicubic[1] < 50 and bicubic[3] > 150  # it overshoots


def test_a_view_of_a_picture_is_resized_with_antialiasing():
    checkerboard = ((torch.arange(96).reshape(-1, 1) + torch.arange(96)) % 2 * 255).to(torch.uint8)
    picture = checkerboard.reshape(1, 96, 96, 1).expand(-1, -1, -1, 3)
    settings = dict(crop_size=20, short_size=20, num_crops=1)
    grey, coarse = (ViewTransform(**settings, antialias=antialias)(picture) for antialias in (True, False))
    assert grey.float().std() < 2 and abs(grey.float().mean() - 127.5) < 1
    assert coarse.float().std() > 20
