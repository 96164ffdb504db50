"""From frames to views: boxes as numbers, pixels that can be worked out by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mlp.data.transforms import (
    TrainTransform,
    ViewTransform,
    centre_box,
    normalise,
    random_box,
    short_side_size,
    three_boxes,
)

MEAN, STD = (0.45, 0.4, 0.5), (0.225, 0.2, 0.25)


def train_transform(**changes):
    settings = dict(crop_size=8, area=(0.2, 1.0), aspect=(0.75, 1.3333), flip=False, mean=MEAN, std=STD)
    return TrainTransform(**{**settings, **changes})


def test_white_and_black_become_the_papers_numbers():
    frames = torch.tensor([0.0, 255.0]).reshape(2, 1, 1, 1).expand(2, 3, 4, 5)
    clip = normalise(frames, MEAN, STD)
    assert clip.shape == (3, 2, 4, 5)
    assert clip[:, 0, 0, 0].tolist() == pytest.approx([-2.0, -2.0, -2.0])
    assert clip[:, 1, 0, 0].tolist() == pytest.approx([(1 - 0.45) / 0.225, 3.0, 2.0])


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
    assert centre_box(256, 341, 224) == [(16, 59)]


def test_one_view_is_the_centre_at_the_short_size_or_the_first_of_three_at_the_crop_size():
    columns = torch.arange(200, dtype=torch.uint8).reshape(1, 1, 200, 1).expand(2, 100, 200, 3)
    settings = dict(crop_size=40, short_size=50, mean=(0, 0, 0), std=(1, 1, 1))
    one = ViewTransform(num_crops=1, **settings)(columns)
    three = ViewTransform(num_crops=3, **settings)(columns)
    first = ViewTransform(num_crops=1, single_crop="first", **settings)(columns)
    assert torch.equal(first, three[:1])
    assert one.shape == (1, 3, 2, 40, 40) and three.shape == (3, 3, 2, 40, 40)
    # 200 columns at half or two fifths of the size: column x shows about 2x or 2.5x.
    assert one[0, 0, 0, 0, 0] * 255 == pytest.approx(2 * 30 + 0.5, abs=0.6)
    assert [round(float(view[0, 0, 0, 0] * 255 / 2.5)) for view in three] == [0, 20, 40]


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    low=st.floats(0.01, 1),
    aspect=st.floats(1, 4),
    seed=st.integers(0, 999),
)
def test_a_random_box_lies_in_the_frame(height, width, low, aspect, seed):
    generator = torch.Generator().manual_seed(seed)
    top, left, box_height, box_width = random_box(height, width, (low, 1.0), (1 / aspect, aspect), generator)
    assert top >= 0 and left >= 0 and box_height >= 1 and box_width >= 1
    assert top + box_height <= height and left + box_width <= width


def test_random_boxes_keep_to_the_ranges_of_area_and_aspect():
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        _, _, height, width = random_box(200, 300, (0.1, 0.5), (0.75, 1.3333), generator)
        assert 0.095 < height * width / 60000 < 0.51
        assert 0.73 < width / height < 1.36


def test_a_whole_box_without_flip_is_a_plain_resize():
    frames = torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8)
    views = train_transform(area=(1.0, 1.0), aspect=(1.0, 1.0))(frames, torch.Generator())
    assert torch.equal(views[0], normalise(frames.permute(0, 3, 1, 2).float(), MEAN, STD))


def test_flips_mirror_half_of_the_clips_and_all_frames_alike():
    frames = torch.arange(8, dtype=torch.uint8).reshape(1, 1, 8, 1).expand(4, 8, 8, 3)
    transform = train_transform(area=(1.0, 1.0), aspect=(1.0, 1.0), flip=True)
    generator = torch.Generator().manual_seed(0)
    views = [transform(frames, generator)[0] for _ in range(200)]
    mirrored = [bool((view[..., 0] > view[..., -1]).all()) for view in views]
    straight = [bool((view[..., 0] < view[..., -1]).all()) for view in views]
    assert all(m != s for m, s in zip(mirrored, straight))
    assert 70 < sum(mirrored) < 130


def test_the_same_generator_gives_the_same_view():
    frames = torch.randint(0, 256, (3, 30, 40, 3), dtype=torch.uint8)
    one, same, other = (
        train_transform(flip=True)(frames, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.shape == (1, 3, 3, 8, 8)
