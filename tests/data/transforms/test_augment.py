"""Sampling AugmentParams, and applying them in the three modes."""

import dataclasses

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from torch.nn import functional as F

from slowfast_mlp.data.transforms.augment import (
    NON_LOCAL_OPS,
    Canvas,
    augment_exact,
    augment_fused,
    crop_frames,
)
from slowfast_mlp.data.transforms.augment_params import AugmentParams, AugmentSampler, sample_color_jitter
from slowfast_mlp.data.transforms.randaugment import ARGUMENTS, NAMES, parse_randaugment
from slowfast_mlp.data.transforms.resize_crop import resize

RANDAUGMENT = parse_randaugment("rand-m7-n4-mstd0.5-inc1")


def sampler(**changes):
    values = dict(crop_size=24, area=(0.08, 1.0), aspect=(0.75, 1.3333), flip=True)
    return AugmentSampler(**{**values, **changes})


def params_of(*ops, crop=(0, 0, 40, 60), size=24, flip=False):
    return AugmentParams(ops=ops, crop=crop, size=size, flip=flip, erasure=None, noise_seed=0)


def noise(num_frames=2, height=40, width=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_frames, height, width, 3), generator=generator).to(torch.uint8)


def smooth(num_frames=2, height=120, width=160):
    """Frames without edges, as far as uint8 allows."""
    coarse = torch.rand(num_frames, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 200 + 20
    return (
        F.interpolate(coarse, (height, width), mode="bicubic")
        .clamp(0, 255)
        .permute(0, 2, 3, 1)
        .to(torch.uint8)
    )


def draw(sampler, number, size=(40, 60)):
    generator = torch.Generator().manual_seed(0)
    return [sampler.sample(*size, generator) for _ in range(number)]


def test_pictures_are_cropped_with_antialiasing_before_all_else_as_pillow_does_it():
    """timm's order for pictures: crop and bicubic resize, mirror, then the ops, which see the view alone."""
    picture = smooth(num_frames=1)
    picture[:, ::2] = 255 - picture[:, ::2]  # lines that only antialiasing makes grey
    crop = (10, 20, 96, 128)
    view = Image.fromarray(picture[0].numpy()).crop((20, 10, 148, 106)).resize((24, 24), Image.BICUBIC)
    expected = ImageEnhance.Contrast(view.transpose(Image.FLIP_LEFT_RIGHT)).enhance(0.5)
    drawn = dataclasses.replace(params_of(("Contrast", 0.5), crop=crop, flip=True), crop_first=True)
    for way in (augment_exact, augment_fused):
        difference = way(picture, drawn)[0].int() - torch.from_numpy(numpy.array(expected)).int()
        assert difference.abs().max() <= 1
    plain = augment_exact(picture, dataclasses.replace(drawn, ops=()))
    difference = plain[0].int() - torch.from_numpy(numpy.array(view.transpose(Image.FLIP_LEFT_RIGHT))).int()
    assert difference.abs().max() <= 1


def test_random_interpolation_is_either_and_leaves_all_other_values_as_they_are():
    settings = dict(crop_size=24, area=(0.08, 1.0), aspect=(0.75, 1.3333), flip=True)
    plain = draw(AugmentSampler(**settings), 1)
    drawn = draw(AugmentSampler(**settings, interpolation="random"), 40)
    assert {one.interpolation for one in drawn} == {"bilinear", "bicubic"}
    assert dataclasses.replace(drawn[0], interpolation="auto") == plain[0]


def test_an_image_is_resized_with_the_interpolation_of_its_params_as_pillow_does_it():
    picture = smooth(num_frames=1)
    picture[:, ::2] = 255 - picture[:, ::2]
    crop = Image.fromarray(picture[0].numpy()).crop((20, 10, 148, 106))
    for interpolation, way in (("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)):
        drawn = params_of(crop=(10, 20, 96, 128))
        drawn = dataclasses.replace(drawn, crop_first=True, interpolation=interpolation)
        expected = torch.from_numpy(numpy.array(crop.resize((24, 24), way))).int()
        assert (augment_exact(picture, drawn)[0].int() - expected).abs().max() <= 1


def test_a_whole_crop_without_ops_is_a_plain_resize():
    frames = noise(height=24, width=24)
    assert torch.equal(augment_exact(frames, params_of(crop=(0, 0, 24, 24))), frames)
    resized = augment_exact(noise(), params_of(crop=(3, 5, 20, 30)))
    assert torch.equal(resized, resize(noise()[:, 3:23, 5:35].contiguous(), (24, 24)))


def test_flips_mirror_half_of_the_clips_and_only_when_asked():
    assert 70 < sum(p.flip for p in draw(sampler(), 200)) < 130
    assert not any(p.flip for p in draw(sampler(flip=False), 50))
    mirrored = augment_exact(noise(), params_of(flip=True))
    assert torch.equal(mirrored, augment_exact(noise(), params_of()).flip(2))


def test_erasures_keep_to_their_share_and_have_seeds_of_their_own():
    sampled = draw(sampler(erase_prob=0.25), 1000)
    erased = [p for p in sampled if p.erasure]
    assert 200 < len(erased) < 300
    assert len({p.noise_seed for p in erased}) == len(erased)
    assert not any(p.erasure for p in draw(sampler(), 50))


def test_ops_and_erasing_do_not_change_crop_and_flip():
    plain = sampler().sample(40, 60, torch.Generator().manual_seed(5))
    full = sampler(randaugment=RANDAUGMENT, erase_prob=1.0).sample(40, 60, torch.Generator().manual_seed(5))
    assert (full.crop, full.flip) == (plain.crop, plain.flip)


def test_colour_jitter_changes_three_things_in_any_order_within_its_range():
    generator = torch.Generator().manual_seed(0)
    drawn = [sample_color_jitter(0.4, generator) for _ in range(300)]
    assert len({tuple(name for name, _ in ops) for ops in drawn}) == 6
    factors = [factor for ops in drawn for _, factor in ops]
    assert 0.6 <= min(factors) < 0.61 and 1.39 < max(factors) <= 1.4
    assert all(factor >= 0 for _, factor in sample_color_jitter(3.0, generator))


def test_colour_jitter_is_left_out_beside_randaugment():
    assert all(len(p.ops) == 3 for p in draw(sampler(color_jitter=0.4), 20))
    with_both = draw(sampler(color_jitter=0.4, randaugment=RANDAUGMENT), 20)
    assert [p.ops for p in with_both] == [p.ops for p in draw(sampler(randaugment=RANDAUGMENT), 20)]


op = st.sampled_from(NAMES).flatmap(
    lambda name: st.tuples(
        st.just(name), st.builds(ARGUMENTS[name], st.floats(0, 1), st.sampled_from([-1, 1]), st.booleans())
    )
)


@settings(deadline=None, max_examples=60)
@given(ops=st.lists(op, max_size=5), top=st.integers(0, 19), left=st.integers(0, 29), flip=st.booleans())
def test_what_is_done_to_the_crop_alone_gives_what_whole_frames_would(ops, top, left, flip):
    crop = (top, left, 20, 30)
    canvas = Canvas(noise())
    for name, argument in ops:
        canvas = Canvas(canvas.frames())
        canvas.apply(name, argument)
    expected = resize(crop_frames(canvas.frames(), crop), (24, 24))
    expected = expected.flip(2) if flip else expected
    assert torch.equal(augment_exact(noise(), params_of(*ops, crop=crop, flip=flip)), expected)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    "ops",
    [
        [],
        [("Rotate", 21.0)],
        [("ShearX", 0.2), ("TranslateY", -0.2)],
        [("TranslateX", 0.3), ("Rotate", -12.0), ("ShearY", -0.2)],
        [("Rotate", 10.0), ("Brightness", 0.7)],
        [("Invert", 0), ("ShearX", 0.2), ("Color", 1.4)],
    ],
)
def test_fused_differs_by_a_level_or_so_where_no_op_looks_at_the_whole_frame(ops, flip):
    params = params_of(*ops, crop=(20, 30, 90, 100), size=64, flip=flip)
    exact, fused = (carry_out(smooth(), params).int() for carry_out in (augment_exact, augment_fused))
    difference = (exact - fused).abs()
    # Every map of the exact mode cuts off, half a level on average; edges of what a map leaves empty are
    # smoothed more than once there.
    assert difference.float().mean() < 1.2
    assert difference.float().quantile(0.95) <= 3


def test_fused_and_exact_apply_the_same_non_local_ops():
    exact = augment_exact(smooth(), params_of(("Equalize", 0), crop=(0, 0, 120, 160), size=64))
    fused = augment_fused(smooth(), params_of(("Equalize", 0), crop=(0, 0, 120, 160), size=64))
    # A crop of everything has nearly the histogram of the frame.
    assert (exact.int() - fused.int()).abs().float().mean() < 3
    assert NON_LOCAL_OPS - {"Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"} == {
        "AutoContrast",
        "Equalize",
        "Contrast",
        "Sharpness",
    }


@pytest.mark.parametrize("mode", [augment_exact, augment_fused])
def test_the_frames_given_are_not_changed_and_views_have_the_size_asked_for(mode):
    frames = noise()
    for params in draw(sampler(randaugment=RANDAUGMENT), 30):
        view = mode(frames, params)
        assert (view.shape, view.dtype) == ((2, 24, 24, 3), torch.uint8)
    assert torch.equal(frames, noise())


def test_all_frames_of_a_clip_are_changed_alike():
    frames = noise(1).expand(3, -1, -1, -1)
    for params in draw(sampler(randaugment=RANDAUGMENT), 30):
        one, two, three = augment_exact(frames, params)
        assert torch.equal(one, two) and torch.equal(two, three)


def test_the_same_seed_samples_the_same_params():
    everything = sampler(randaugment=RANDAUGMENT, erase_prob=0.5)
    assert draw(everything, 5) == draw(everything, 5)
    assert len({dataclasses.astuple(p) for p in draw(everything, 20)}) == 20
