"""Figures as SVG: what can be read off them is what went in."""

import re
from xml.etree import ElementTree

import pytest
import torch

from slowfast_mlp.apps.visualize import charts
from slowfast_mlp.apps.visualize.calibration import Bin
from slowfast_mlp.apps.visualize.charts import (
    Curve,
    downsample,
    format_number,
    legend,
    line_chart,
    nice_ticks,
)


def parsed(svg):
    return ElementTree.fromstring(svg)


def texts(svg):
    return [node.text for node in parsed(svg).iter("text")]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 2.3, [0, 0.5, 1, 1.5, 2, 2.5]),
        (0, 0.0003, [0, 1e-4, 2e-4, 3e-4]),
        (87, 93, [86, 88, 90, 92, 94]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round_and_span_the_values(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0005, "5e-4"), (0.5, "0.5"), (1500.0, "1500"), (20000, "20k"), (30, "30")],
)
def test_numbers_on_axes_are_short(value, text):
    assert format_number(value) == text


def test_long_lines_are_thinned_to_means_of_neighbours():
    points = [(float(x), float(x)) for x in range(600)]
    assert downsample(points)[:2] == [(0.5, 0.5), (2.5, 2.5)]
    assert len(downsample(points)) == charts.MAX_POINTS
    assert downsample(points[:300]) == points[:300]


def test_a_line_has_a_gap_where_a_value_is_missing():
    points = [(0, 1.0), (1, 2.0), (2, None), (3, float("nan")), (4, 3.0), (5, 2.0)]
    svg = line_chart([Curve(name="loss", points=points)], title="Loss", x_name="epoch", y_name="nats")
    lines = [node.get("points").split() for node in parsed(svg).iter("polyline")]
    assert [len(places) for places in lines] == [2, 2]


def test_values_are_where_the_axes_say():
    line = Curve(name="loss", points=[(0, 0.0), (10, 4.0)])
    svg = line_chart([line], title="Loss", x_name="epoch", y_name="loss (nats)")
    (places,) = [node.get("points") for node in parsed(svg).iter("polyline")]
    assert places == f"{charts.LEFT:.1f},{charts.BOTTOM:.1f} {charts.RIGHT:.1f},{charts.TOP:.1f}"
    assert texts(svg) == ["0", "1", "2", "3", "4", "0", "2", "4", "6", "8", "10", "epoch", "loss (nats)"]
    assert [node.text for node in parsed(svg).iter("title")] == ["loss: 0 at 0", "loss: 4 at 10"]


def test_lines_differ_in_colour_and_dashes():
    points = [(0, 1.0), (1, 2.0)]
    svg = line_chart([Curve(name=str(n), points=points) for n in range(8)], title="", x_name="", y_name="")
    looks = [(node.get("style"), node.get("stroke-dasharray")) for node in parsed(svg).iter("polyline")]
    assert len(set(looks)) == 8
    assert [name in legend(["a & b", "c"]) for name in ("a &amp; b", "c")] == [True, True]


def test_a_chart_of_nothing_is_nothing():
    assert line_chart([Curve(name="a", points=[(0, None)])], title="", x_name="", y_name="") == ""
    assert line_chart([], title="", x_name="", y_name="") == ""


@pytest.mark.parametrize(
    ("value", "numbers"),
    [(1.87386, ["0", "0.5", "1", "1.5", "2"]), (-3.0, ["-3", "-2", "-1", "0"]), (0.0, ["0", "0.2", "1"])],
)
def test_an_axis_of_one_value_leads_from_0_to_it(value, numbers):
    svg = line_chart([Curve(name="a", points=[(1, value)])], title="A", x_name="epoch", y_name="nats")
    shown = [node.text for node in parsed(svg).iter("text") if node.get("text-anchor") == "end"]
    assert set(numbers) <= set(shown)


def test_a_single_point_is_a_dot():
    svg = line_chart([Curve(name="a", points=[(3, 7.0)])], title="", x_name="", y_name="")
    assert not list(parsed(svg).iter("polyline"))
    assert len(list(parsed(svg).iter("circle"))) == 2  # seen, and its tooltip


def test_a_reliability_bar_is_as_high_as_the_share_that_is_right():
    one = Bin(low=0.8, high=1.0, num_videos=4, confidence=0.9, accuracy=0.5)
    svg = parsed(charts.reliability_chart([one], title="Calibration"))
    (bar,) = svg.iter("rect")
    assert float(bar.get("height")) == pytest.approx((charts.BOTTOM - charts.TOP) / 2)
    assert bar[0].text == "0.80 to 1.00: 4 videos, mean probability 0.900, right 0.500"


def test_a_matrix_shows_counts_and_shares_of_all_videos_of_a_label():
    svg = charts.matrix_chart(
        torch.tensor([[3, 1], [0, 2]]), ["left & up", "right"], totals=[5, 2], title="Confusion"
    )
    says = [node.text for node in parsed(svg).iter("title")]
    assert says[:2] == ["left & up taken for left & up: 3 of 5", "left & up taken for right: 1 of 5"]
    shares = [
        float(node.get("fill-opacity")) for node in parsed(svg).iter("rect") if node.get("fill-opacity")
    ]
    assert shares == [0.6, 0.2, 0.0, 1.0]
    assert texts(svg)[1:5] == ["left & up", "left & up", "right", "right"]
    assert texts(svg)[5:] == ["3", "1", "2"]


def test_bars_are_as_long_as_their_percentage():
    svg = charts.bar_chart([("a", 100.0, "all"), ("b", 25.0, "some")], title="Accuracy", x_name="%")
    full, quarter = (float(node.get("width")) for node in parsed(svg).iter("rect"))
    assert quarter == pytest.approx(full / 4, abs=0.1)
    assert re.search(r"<title>some</title>", svg)
