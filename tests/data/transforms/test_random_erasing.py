"""Random erasing: the shape of its boxes, and what it leaves of a clip."""

import math

import pytest
import torch

from slowfast_mlp.data.transforms.random_erasing import sample_erasing_box, write_noise


def test_boxes_keep_to_the_ranges_and_lie_in_the_frame():
    generator = torch.Generator().manual_seed(0)
    boxes = [sample_erasing_box(224, 224, generator) for _ in range(2000)]
    areas = torch.tensor([height * width / 224**2 for _, _, height, width in boxes])
    aspects = torch.tensor([math.log(height / width) for _, _, height, width in boxes])
    assert 0.019 < areas.min() < 0.03 and 0.32 < areas.max() < 0.335
    assert areas.mean() == pytest.approx((0.02 + 1 / 3) / 2, abs=0.01)  # uniform
    assert aspects.min() > math.log(0.29) and aspects.max() < math.log(3.45)
    assert aspects.mean() == pytest.approx(0, abs=0.05)
    assert all(0 <= top <= 224 - height and 0 <= left <= 224 - width for top, left, height, width in boxes)
    assert {top for top, *_ in boxes} >= {0} and max(top + height for top, _, height, _ in boxes) == 224


def test_a_frame_too_small_for_any_box_is_left():
    assert sample_erasing_box(1, 1, torch.Generator()) is None


def test_noise_is_normal_differs_by_frame_and_stays_in_its_box():
    clip = torch.full((3, 4, 40, 40), 9.0)
    write_noise(clip, (5, 10, 30, 20), seed=3)
    noise = clip[:, :, 5:35, 10:30]
    assert noise.mean() == pytest.approx(0, abs=0.05) and noise.std() == pytest.approx(1, abs=0.05)
    assert not torch.equal(noise[:, 0], noise[:, 1]) and not torch.equal(noise[0], noise[1])
    assert (clip == 9).sum() == 3 * 4 * (40 * 40 - 30 * 20)


def test_the_same_seed_gives_the_same_noise():
    clips = [torch.zeros(3, 2, 8, 8) for _ in range(3)]
    for clip, seed in zip(clips, (1, 1, 2)):
        write_noise(clip, (0, 0, 8, 8), seed=seed)
    assert torch.equal(clips[0], clips[1]) and not torch.equal(clips[0], clips[2])
