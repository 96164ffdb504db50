"""RandAugment's words and draws; what the ops do is in test_pixel_ops.py."""

from collections import Counter

import pytest
import torch

from slowfast_mlp.data.transforms.randaugment import (
    ARGUMENTS,
    NAMES,
    RandAugment,
    parse_randaugment,
)
from slowfast_mlp.errors import UserError

PAPER = "rand-m7-n4-mstd0.5-inc1"


def draws(randaugment, number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [randaugment.sample(generator) for _ in range(number)]


def test_the_papers_words_are_understood():
    assert parse_randaugment(PAPER) == RandAugment(magnitude=7, num_ops=4, std=0.5, increasing=True)
    assert parse_randaugment("rand") == RandAugment(magnitude=10, num_ops=2, std=0, increasing=False)
    assert parse_randaugment("rand-mmax9-p0.3-inc0") == RandAugment(max_magnitude=9, prob=0.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rand-m7-x3", "unknown part 'x3'; there is m, n, mstd, inc, mmax, p"),
        ("rand-m7-w0", "unknown part 'w0'"),
        ("rand-m7--n4", "unknown part ''"),
        ("augmix-m3", "it starts with rand"),
        ("", "it starts with rand"),
        ("rand-m11", "after m give a number of 0 to 10, not '11'"),
        ("rand-n0", "after n give a number of 1 to 100, not '0'"),
        ("rand-nfour", "unknown part 'nfour'"),
        ("rand-n2.5", "not '2.5'"),
        ("rand-m", "not ''"),
        ("rand-inc2", "after inc give a number of 0 to 1"),
    ],
)
def test_words_that_are_not_understood_are_named(text, message):
    with pytest.raises(UserError, match="AUG.AA_TYPE") as raised:
        parse_randaugment(text)
    assert message in str(raised.value)


def test_arguments_are_timms_formulas():
    assert {name: ARGUMENTS[name](0.7, 1, True) for name in NAMES} == pytest.approx(
        {
            "AutoContrast": 0,
            "Equalize": 0,
            "Invert": 0,
            "Rotate": 21,
            "Posterize": 2,  # 4 - int(2.8)
            "Solarize": 77,  # 256 - int(179.2)
            "SolarizeAdd": 77,
            "Color": 1.63,
            "Contrast": 1.63,
            "Brightness": 1.63,
            "Sharpness": 1.63,
            "ShearX": 0.21,
            "ShearY": 0.21,
            "TranslateX": 0.315,
            "TranslateY": 0.315,
        }
    )
    assert [ARGUMENTS[name](0.7, -1, True) for name in ("Rotate", "Color", "ShearX")] == pytest.approx(
        [-21, 0.37, -0.21]
    )
    assert [ARGUMENTS[name](0.7, -1, False) for name in ("Posterize", "Solarize", "Color")] == pytest.approx(
        [2, 179, 1.36]
    )


def test_each_of_four_ops_happens_half_of_the_time_and_each_name_as_often():
    drawn = draws(parse_randaugment(PAPER), 3000)
    assert 1.95 < sum(map(len, drawn)) / 3000 < 2.05
    counts = Counter(name for ops in drawn for name, _ in ops)
    assert set(counts) == set(NAMES)
    assert all(320 < count < 480 for count in counts.values())  # 400 on average
    assert any(len({name for name, _ in ops}) < len(ops) for ops in drawn)  # drawn with replacement


def test_magnitudes_are_normal_and_cut_off_and_signs_are_even():
    degrees = torch.tensor(
        [a for ops in draws(parse_randaugment(PAPER), 6000) for n, a in ops if n == "Rotate"]
    )
    assert 0.45 < (degrees > 0).float().mean() < 0.55
    assert degrees.abs().mean() == pytest.approx(21, abs=0.2)
    assert degrees.abs().std() == pytest.approx(1.5, abs=0.15)
    wild = parse_randaugment("rand-m9-n4-mstd5-mmax9.5-p1")
    degrees = [abs(a) for ops in draws(wild, 500) for name, a in ops if name == "Rotate"]
    assert (min(degrees), max(degrees)) == (0, 28.5)
