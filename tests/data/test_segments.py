"""Segment sampling by the forks' formulas: tables that can be checked by hand, and a second form of them."""

import math
from fractions import Fraction

import pytest
import torch

from slowfast_mlp.data.clip_sampling import (
    SegmentClipSampler,
    random_segments,
    segment_borders,
    view_segments,
)

LENGTHS, CLIPS, VIEWS = (1, 5, 20, 60, 150, 300), (8, 16, 32), (1, 2, 3)


@pytest.mark.parametrize(
    ("num_video_frames", "num_frames", "borders"),
    [
        # Parts of 4 / 8 = 0.5: the halves 0.5, 1.5, 2.5, 3.5 go to the even 0, 2, 2, 4.
        (5, 8, [0, 0, 1, 2, 2, 2, 3, 4, 4]),
        # Parts of 20 / 8 = 2.5: 2.5, 7.5, 12.5, 17.5 go to 2, 8, 12, 18.
        (21, 8, [0, 2, 5, 8, 10, 12, 15, 18, 20]),
        (17, 16, list(range(17))),
        (1, 8, [0] * 9),
    ],
)
def test_borders_are_rounded_with_halves_to_even(num_video_frames, num_frames, borders):
    assert segment_borders(num_video_frames, num_frames).tolist() == borders


@pytest.mark.parametrize(
    ("num_video_frames", "num_frames", "views"),
    [
        (1, 8, [[0] * 8] * 2),
        # Parts of 0.5: no view goes a whole frame into them.
        (5, 8, [[0, 0, 1, 2, 2, 2, 3, 4]] * 3),
        # Parts of 19 / 8 = 2.375: 1.1875 into them, or 0.79 and 1.58, or 0.59, 1.19 and 1.78.
        (20, 8, [[1, 3, 6, 8, 11, 13, 15, 18]]),
        (20, 8, [[0, 2, 5, 7, 10, 12, 14, 17], [1, 3, 6, 8, 11, 13, 15, 18]]),
        (20, 8, [[0, 2, 5, 7, 10, 12, 14, 17], *[[1, 3, 6, 8, 11, 13, 15, 18]] * 2]),
        # Parts of 19 / 16 = 1.1875: the two views are the same, as they are in the forks.
        (20, 16, [[0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 17, 18]] * 2),
        # Parts of 59 / 8 = 7.375: 3.6875; 2.46 and 4.92; 1.84, 3.69 and 5.53 into them.
        (60, 8, [[3, 10, 18, 25, 33, 40, 47, 55]]),
        (60, 8, [[2, 9, 17, 24, 32, 39, 46, 54], [4, 11, 19, 26, 34, 41, 48, 56]]),
        (
            60,
            8,
            [
                [1, 8, 16, 23, 31, 38, 45, 53],
                [3, 10, 18, 25, 33, 40, 47, 55],
                [5, 12, 20, 27, 35, 42, 49, 57],
            ],
        ),
        (60, 16, [[1, 5, 8, 12, 16, 19, 23, 27, 31, 34, 38, 42, 45, 49, 53, 56]]),
        (150, 8, [[9, 28, 46, 65, 83, 102, 121, 139]]),
        (150, 16, [[4, 13, 23, 32, 41, 51, 60, 69, 78, 88, 97, 106, 116, 125, 134, 144]]),
        (300, 8, [[12, 49, 87, 124, 162, 199, 236, 274], [24, 61, 99, 136, 174, 211, 248, 286]]),
        (300, 16, [[9, 28, 46, 65, 84, 102, 121, 140, 159, 177, 196, 215, 233, 252, 271, 289]]),
    ],
)
def test_frames_of_test_views(num_video_frames, num_frames, views):
    found = [view_segments(num_video_frames, num_frames, v, len(views)).tolist() for v in range(len(views))]
    assert found == views


def round_half_even(value: Fraction) -> int:
    below = math.floor(value)
    if value - below == Fraction(1, 2):
        return below + below % 2
    return math.floor(value + Fraction(1, 2))


@pytest.mark.parametrize("num_frames", CLIPS)
@pytest.mark.parametrize("num_video_frames", LENGTHS)
def test_views_and_borders_equal_exact_fractions(num_video_frames, num_frames):
    part = Fraction(num_video_frames - 1, num_frames)
    borders = [round_half_even(part * k) for k in range(num_frames + 1)]
    assert segment_borders(num_video_frames, num_frames).tolist() == borders
    for num_views in VIEWS:
        for view in range(num_views):
            into = math.floor(part * (view + 1) / (num_views + 1))
            found = view_segments(num_video_frames, num_frames, view, num_views).tolist()
            assert found == [start + into for start in borders[:-1]]
            assert min(found) >= 0 and max(found) < num_video_frames


@pytest.mark.parametrize(("num_video_frames", "num_frames"), [(1, 8), (5, 8), (20, 8), (60, 16), (300, 32)])
def test_training_draws_every_frame_of_every_part_borders_included(num_video_frames, num_frames):
    borders = segment_borders(num_video_frames, num_frames).long().tolist()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([random_segments(num_video_frames, num_frames, generator) for _ in range(500)])
    for part in range(num_frames):
        expected = set(range(borders[part], borders[part + 1] + 1))
        assert set(drawn[:, part].tolist()) == expected


def test_training_draws_are_even():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([random_segments(20, 8, generator) for _ in range(3000)])  # parts 0 to 2, 2 to 5, ...
    counts = [(drawn[:, 1] == frame).sum().item() for frame in (2, 3, 4, 5)]
    assert all(650 < count < 850 for count in counts)


def test_neither_rate_nor_frame_rate_matters_and_shuffling_keeps_the_frames():
    ordered, shuffled = (SegmentClipSampler(num_frames=16, shuffle=shuffle) for shuffle in (False, True))
    generator = torch.Generator().manual_seed(0)
    one, other = (ordered.views(60, fps, 2, generator) for fps in (12.0, 60.0))
    assert [clip.tolist() for clip in one] == [clip.tolist() for clip in other]
    mixed = shuffled.views(60, 30.0, 2, generator)
    assert [clip.sort().values.tolist() for clip in mixed] == [clip.tolist() for clip in one]
    assert all(a.tolist() != b.tolist() for a, b in zip(mixed, one))
    draws = [clips.random(60, 30.0, torch.Generator().manual_seed(1)) for clips in (ordered, shuffled)]
    assert draws[0].tolist() == draws[1].sort().values.tolist() != draws[1].tolist()
