"""The picture: marks stand where their figures are, and labels next to each other."""

import pytest
from PIL import Image

from slowfast_mlp.apps.reproduce.plot import (
    BOTTOM,
    COLORS,
    LEFT,
    RIGHT,
    TOP,
    Box,
    Point,
    decades,
    draw,
    ticks,
)


def pixel_color(picture: Image.Image, x: float, y: float) -> str:
    return "#{:02X}{:02X}{:02X}".format(*picture.getpixel((round(x), round(y))))


def point(**other):
    figures = dict(panel="A", family="f", label="S", gflops=10, published=None, measured=None)
    return Point(**{**figures, **other})


def test_a_point_alone_stands_in_the_middle_a_ring_if_published_a_disc_if_measured():
    middle = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    ring = draw([point(published=50.0)])
    disc = draw([point(measured=50.0)])
    assert (
        pixel_color(ring, *middle) == "#FFFFFF" and pixel_color(ring, middle[0] + 6, middle[1]) == COLORS[0]
    )
    assert pixel_color(disc, *middle) == COLORS[0]


def test_a_better_and_dearer_row_stands_above_and_to_the_right():
    picture = draw([point(measured=50.0), point(gflops=100, measured=60.0, label="B")])
    found = [
        (x, y)
        for x in range(LEFT, RIGHT)
        for y in range(TOP, BOTTOM)
        if picture.getpixel((x, y)) == (0, 0x72, 0xB2)
    ]
    left, right = min(found), max(found)
    assert left[0] < right[0] - 200 and left[1] > right[1] + 200


def test_a_row_without_any_accuracy_is_not_drawn_and_nothing_is_no_picture():
    assert draw([point()]) is None
    assert draw([point(), point(panel="B", measured=1.0)]).size == draw([point(measured=1.0)]).size


def test_panels_stand_two_side_by_side():
    one, two, three = (
        draw([point(panel=name, measured=1.0) for name in names]) for names in ("A", "AB", "ABC")
    )
    assert two.size == (2 * one.width, one.height)
    assert three.width == two.width and three.height > two.height


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (78.4, 81.0, [78.5, 79.0, 79.5, 80.0, 80.5, 81.0]),
        (0.0, 100.0, [0, 20, 40, 60, 80, 100]),
        (49.0, 51.0, [49.0, 49.5, 50.0, 50.5, 51.0]),
    ],
)
def test_percentages_are_round(low, high, expected):
    assert ticks(low, high) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (60, 700, [70, 100, 150, 200, 300, 400, 500, 700]),
        (0.02, 30, [0.1, 1, 10]),
        (4, 300, [5, 10, 20, 50, 100, 200]),
    ],
)
def test_gflops_are_round(low, high, expected):
    assert decades(low, high) == expected


def test_boxes_that_share_an_edge_do_not_touch():
    box = Box(0, 0, 10, 10)
    assert box.overlaps(Box(9, 9, 20, 20))
    assert not box.overlaps(Box(10, 0, 20, 10))


def test_the_legend_goes_on_in_another_line_where_it_is_too_long():
    few = draw([point(measured=50.0, family="a")])
    many = draw([point(measured=50.0, family=f"a family of models {n}", gflops=n + 1) for n in range(6)])
    assert many.width == few.width and many.height > few.height
    last = [many.getpixel((LEFT, y)) for y in range(few.height, many.height)]
    assert (0x56, 0xB4, 0xE9) in last  # the colour of the sixth begins a line
