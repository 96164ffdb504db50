"""Predictions as text, as segments, and as pictures."""

import json

import pytest
import torch

from slowfast_mlp.apps.predict import output
from slowfast_mlp.apps.predict.captions import draw_caption
from slowfast_mlp.apps.predict.predictor import Prediction, Ranked
from slowfast_mlp.apps.predict.timeline import (
    COLORS,
    OTHERS,
    draw_timeline,
    format_tick,
    leading_classes,
    ticks,
)

NAMES = ("run", "jump", "swim")


def predicted(*shares, start=None, end=None, failure="", num_views=6):
    probabilities = torch.tensor(shares, dtype=torch.float64)
    return Prediction(
        path="a.mp4",
        label_names=NAMES,
        scores=probabilities * 10,
        probabilities=probabilities,
        num_views=num_views,
        failure=failure,
        start_sec=start,
        end_sec=end,
    )


def test_a_table_has_a_line_for_every_class():
    assert output.table(predicted(0.25, 0.7, 0.05), 2, use_color=False) == (
        "a.mp4\n   1  jump   70.0 %\n   2  run    25.0 %"
    )


def test_colours_are_only_there_when_asked_for():
    assert "\x1b[1m   1  jump   70.0 %\x1b[0m" in output.table(predicted(0.25, 0.7, 0.05), 2, use_color=True)


def test_a_table_says_what_could_not_be_read():
    part = output.table(predicted(0.25, 0.7, 0.05, failure="is cut off", num_views=3), 1, use_color=False)
    assert part == "a.mp4\n   1  jump   70.0 %\n  only 3 views: is cut off"
    none = output.table(predicted(failure="has no frames", num_views=0), 1, use_color=False)
    assert none == "a.mp4\n  cannot be read: has no frames"


def test_json_holds_what_a_program_needs():
    assert json.loads(output.as_json(predicted(0.25, 0.7, 0.05, start=1.0, end=1.53333), 1)) == {
        "path": "a.mp4",
        "start_sec": 1.0,
        "end_sec": 1.533,
        "num_views": 6,
        "top": [{"label": 1, "name": "jump", "probability": 0.7, "score": 7.0}],
    }
    assert json.loads(output.as_json(predicted(failure="gone", num_views=0), 1)) == {
        "path": "a.mp4",
        "num_views": 0,
        "top": [],
        "failure": "gone",
    }


WINDOWS = [
    predicted(0.8, 0.1, 0.1, start=0.0, end=2.0),
    predicted(0.6, 0.3, 0.1, start=1.0, end=3.0),
    predicted(0.1, 0.8, 0.1, start=2.0, end=4.0),
    predicted(0.9, 0.1, 0.0, start=2.5, end=4.5),
]


def test_a_window_stands_for_the_times_around_its_middle():
    assert output.window_spans(WINDOWS) == [(0.0, 1.5), (1.5, 2.5), (2.5, 3.25), (3.25, 4.5)]
    assert output.window_spans(WINDOWS[:1]) == [(0.0, 2.0)]


def test_neighbouring_windows_with_one_best_class_are_a_segment():
    found = output.segments(WINDOWS)
    assert [(part.start_sec, part.end_sec, part.best.name) for part in found] == [
        (0.0, 2.5, "run"),
        (2.5, 3.25, "jump"),
        (3.25, 4.5, "run"),
    ]
    assert [part.best.probability for part in found] == pytest.approx([0.7, 0.8, 0.9])
    written = json.loads(output.segments_as_json("a.mp4", WINDOWS, 1))
    assert [part["name"] for part in written["segments"]] == ["run", "jump", "run"]
    assert len(written["windows"]) == 4 and "path" not in written["windows"][0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0:00.0"), (59.96, "1:00.0"), (62.5, "1:02.5"), (3662.54, "1:01:02.5")]
)
def test_times_are_written_as_people_do(seconds, text):
    assert output.format_time(seconds) == text


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 4.5, [0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]),
        (0, 7.4, [0, 1, 2, 3, 4, 5, 6, 7]),
        (3.2, 100, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        (0, 360_000, [number * 43_200 for number in range(9)]),
    ],
)
def test_ticks_are_round_and_few(start, end, expected):
    assert ticks(start, end) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "end", "text"),
    [(0, 5, "0 s"), (0.5, 5, "0.5 s"), (2, 5, "2 s"), (90, 100, "1:30"), (90, 4000, "0:01:30")],
)
def test_ticks_have_the_unit_of_the_whole(seconds, end, text):
    assert format_tick(seconds, end) == text


def test_the_classes_that_lead_most_are_drawn():
    assert leading_classes(WINDOWS) == [0, 1, 2]


def colours_at(picture, x, y):
    return "#" + "".join(f"{value:02X}" for value in picture.getpixel((x, y)))


def test_the_strip_of_a_timeline_shows_the_best_class_at_its_time():
    picture = draw_timeline(WINDOWS, "a.mp4")
    assert picture.size == (1600, 800)
    # Times 0 to 4.5 s lie from 110 to 1210: 2 s at 599, 3 s at 843, 4 s at 1088.
    assert [colours_at(picture, x, 650) for x in (599, 843, 1088)] == [COLORS[0], COLORS[1], COLORS[0]]
    # run is at 90 % in the middle of the last window, 3.5 s; lines rise from 560 to 90.
    assert colours_at(picture, 110 + round(1100 * 3.5 / 4.5), 560 - round(470 * 0.9) + 1) == COLORS[0]


def test_classes_without_a_colour_are_others():
    windows = []
    for label in range(8):
        shares = torch.full((8,), 0.02, dtype=torch.float64)
        shares[label] = 0.86
        window = predicted(*shares.tolist(), start=float(label), end=label + 1.0)
        windows.append(window)
    windows = [
        Prediction(
            **{**vars(window), "label_names": [f"class number {n} with a long name" for n in range(8)]}
        )
        for window in windows
    ]
    picture = draw_timeline(windows, "a.mp4")
    strip = [colours_at(picture, round(110 + 1100 * (label + 0.5) / 8), 650) for label in range(8)]
    assert strip == [*COLORS, OTHERS, OTHERS]


def test_a_caption_lies_in_the_corner_and_small_frames_grow():
    frame = torch.full((60, 80, 3), 200, dtype=torch.uint8)
    rows = [Ranked(0, "run", 0.75, 7.5), Ranked(1, "a name that is far too long for a frame", 0.25, 2.5)]
    drawn = draw_caption(frame, rows)
    assert drawn.shape == (240, 320, 3)
    changed = (drawn != 200).any(dim=2)
    rows_changed = changed.any(dim=1).nonzero().flatten()
    columns = changed.any(dim=0).nonzero().flatten()
    assert rows_changed.min() > 0 and rows_changed.max() < 60
    assert columns.min() > 0 and columns.max() < 320
    assert (drawn == 255).all(dim=2).any()  # letters
    blue = (drawn[..., 2].int() - drawn[..., 0].int()) > 60
    upper, lower = blue[rows_changed.min() : 22].sum(), blue[26:46].sum()
    assert upper > 2 * lower > 0  # the bar of 75 % next to that of 25 %


def test_without_a_prediction_a_frame_is_only_enlarged():
    frame = torch.full((60, 80, 3), 200, dtype=torch.uint8)
    assert draw_caption(frame, []).eq(200).all()
    large = torch.full((480, 640, 3), 200, dtype=torch.uint8)
    assert torch.equal(draw_caption(large, []), large)
