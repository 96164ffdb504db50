"""Which frames make a clip: tables of numbers that can be checked by hand, and properties of all of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_mlp.data.clip_sampling import (
    DenseClipSampler,
    clip_indices,
    clip_span,
    random_start,
    view_start,
)


def test_sixteen_frames_at_rate_four_are_unevenly_spaced():
    indices = clip_indices(0, 64, 300, 16).tolist()
    assert indices == [0, 4, 8, 12, 16, 21, 25, 29, 33, 37, 42, 46, 50, 54, 58, 63]


def test_eight_frames_at_rate_eight_have_stride_nine():
    assert clip_indices(0, 64, 300, 8).tolist() == [0, 9, 18, 27, 36, 45, 54, 63]


def test_past_the_end_the_last_frame_repeats():
    assert clip_indices(0, 64, 20, 16).tolist() == [0, 4, 8, 12, 16] + [19] * 11
    assert clip_indices(0, 64, 1, 4).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("fps", "span"), [(12, 25.6), (24, 51.2), (29.97, 63.936), (30, 64), (60, 128)])
def test_a_clip_spans_the_same_time_at_any_frame_rate(fps, span):
    assert clip_span(16, 4, fps, 30) == pytest.approx(span)


@pytest.mark.parametrize(
    ("num_video_frames", "num_views", "offset", "starts"),
    [
        (300, 1, True, [118]),
        (300, 4, True, [0, 78, 156, 234]),
        (300, 10, True, [0, 26, 52, 78, 104, 130, 156, 182, 208, 234]),
        (300, 1, False, [0]),
        (300, 4, False, [0, 59, 118, 177]),
        (150, 4, True, [0, 28, 56, 84]),
        (60, 4, True, [0, 0, 0, 0]),
        (5, 1, True, [0]),
        (1, 10, False, [0] * 10),
    ],
)
def test_view_starts_of_a_64_frame_clip(num_video_frames, num_views, offset, starts):
    found = [view_start(num_video_frames, 64, view, num_views, offset=offset) for view in range(num_views)]
    assert found == starts


@pytest.mark.parametrize(
    ("num_video_frames", "fps", "first_frames"),
    [(300, 30, [118, 122, 126]), (300, 60, [86, 94, 102]), (150, 12, [62, 63, 65])],
)
def test_the_middle_clip_of_videos_of_other_rates(num_video_frames, fps, first_frames):
    clips = DenseClipSampler(num_frames=16, sampling_rate=4, target_fps=30, offset=True, shuffle=False)
    (indices,) = clips.views(num_video_frames, fps, 1, torch.Generator())
    assert indices[:3].tolist() == first_frames


@given(
    num_video_frames=st.integers(1, 500),
    fps=st.floats(1, 120),
    num_frames=st.integers(1, 64),
    rate=st.integers(1, 16),
    num_views=st.integers(1, 12),
    offset=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_every_clip_lies_in_the_video_and_goes_forward(
    num_video_frames, fps, num_frames, rate, num_views, offset, seed
):
    clips = DenseClipSampler(
        num_frames=num_frames, sampling_rate=rate, target_fps=30, offset=offset, shuffle=False
    )
    generator = torch.Generator().manual_seed(seed)
    for indices in [
        clips.random(num_video_frames, fps, generator),
        *clips.views(num_video_frames, fps, num_views, generator),
    ]:
        assert len(indices) == num_frames
        assert indices.min() >= 0 and indices.max() < num_video_frames
        assert (indices.diff() >= 0).all()


def test_random_starts_reach_from_the_first_to_the_last_place():
    generator = torch.Generator().manual_seed(0)
    starts = [random_start(100, 64, generator) for _ in range(1000)]
    assert 0 <= min(starts) < 1 and 35 < max(starts) < 36
    assert sum(starts) / 1000 == pytest.approx(18, abs=1)
    assert random_start(10, 64, generator) == 0


def test_shuffling_keeps_the_frames_of_a_clip_and_changes_their_order():
    ordered, shuffled = (
        DenseClipSampler(num_frames=16, sampling_rate=4, target_fps=30, offset=True, shuffle=shuffle).views(
            300, 30, 4, torch.Generator().manual_seed(1)
        )
        for shuffle in (False, True)
    )
    for before, after in zip(ordered, shuffled):
        assert before.tolist() != after.tolist()
        assert before.tolist() == sorted(after.tolist())
