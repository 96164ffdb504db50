"""A picture of the report: top-1 over GFLOPs, published and measured, a panel for each data set."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

# Okabe and Ito's, which people who do not see all colours can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GRID, INK, FAINT = "#E2E2E2", "#222222", "#888888"
PANEL_WIDTH, PANEL_HEIGHT = 800, 620
LEFT, RIGHT, TOP, BOTTOM = 90, 770, 60, 540  # of the axes in a panel
LEGEND_LINE = 34
SUPERSAMPLING = 2  # drawn larger and shrunk: Pillow's own lines are jagged
DOT = 7
TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
MAX_TICKS = 8


class Point(NamedTuple):
    """A row of the report: GFLOPs over all views, and top-1 in percent, published and measured (None: no)."""

    panel: str
    family: str
    label: str
    gflops: float
    published: float | None
    measured: float | None

    @property
    def accuracies(self) -> list[float]:
        """The accuracies that there are."""
        return [top1 for top1 in (self.published, self.measured) if top1 is not None]


class Box(NamedTuple):
    """A rectangle in the units of the final pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        """Whether they share more than an edge."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def draw(points: Sequence[Point]) -> Image.Image | None:
    """The picture of all points that have an accuracy, None where none has; two panels side by side."""
    points = [point for point in points if point.accuracies]
    if not points:
        return None
    names = list(dict.fromkeys(point.panel for point in points))
    columns = min(2, len(names))
    width, height = columns * PANEL_WIDTH, -(-len(names) // columns) * PANEL_HEIGHT
    families = list(dict.fromkeys(point.family for point in points))
    color_of = {family: COLORS[number % len(COLORS)] for number, family in enumerate(families)}
    legend = _wrap(["published", "measured", *families], width - LEFT)
    whole = height + (len(legend) + 1) * LEGEND_LINE
    picture = Image.new("RGB", (width * SUPERSAMPLING, whole * SUPERSAMPLING), "white")
    pen = ImageDraw.Draw(picture)
    for number, name in enumerate(names):
        corner = number % columns * PANEL_WIDTH, number // columns * PANEL_HEIGHT
        panel = _Panel(pen, corner, [point for point in points if point.panel == name])
        panel.draw(name, color_of)
    for number, line in enumerate(legend, start=1):
        _legend_line(pen, height + number * LEGEND_LINE, line, color_of)
    return picture.reduce(SUPERSAMPLING)


class _Panel:
    """The axes of one data set: GFLOPs as logarithms from left to right, top-1 upwards."""

    def __init__(self, pen: ImageDraw.ImageDraw, corner: tuple[int, int], points: Sequence[Point]):
        self._pen, self._points = pen, points
        x, y = corner
        self._axes = Box(x + LEFT, y + TOP, x + RIGHT, y + BOTTOM)
        logs = [math.log10(point.gflops) for point in points]
        self._x_range = _pad_range(min(logs), max(logs), by=0.12, min_width=0.3)
        accuracies = [top1 for point in points for top1 in point.accuracies]
        low, high = _pad_range(min(accuracies), max(accuracies), by=0.12, min_width=2.0)
        self._y_range = max(0.0, low), min(100.0 + (high - low) / 25, high)

    def draw(self, title: str, color_of: dict[str, str]) -> None:
        """Everything, and the labels last, where they hide nothing."""
        self._grid(title)
        occupied = []
        for point in self._points:
            occupied += list(self._marks(point, color_of[point.family]))
        # From the best down: labels of neighbours then go to the sides where there is room.
        for point in sorted(self._points, key=lambda point: -max(point.accuracies)):
            occupied.append(self._label(point, occupied))

    def _grid(self, title: str) -> None:
        axes = self._axes
        _text(self._pen, (axes.left, axes.top - 18), title, size=24)
        low, high = self._y_range
        for top1 in ticks(low, min(100, high)):
            y = self._y(top1)
            self._pen.line(_scale_up((axes.left, y, axes.right, y)), GRID, SUPERSAMPLING)
            _text(self._pen, (axes.left - 10, y), f"{top1:g}", size=17, anchor="rm")
        for gflops in decades(*(10**log for log in self._x_range)):
            x = self._x(gflops)
            self._pen.line(_scale_up((x, axes.top, x, axes.bottom)), GRID, SUPERSAMPLING)
            _text(self._pen, (x, axes.bottom + 10), f"{gflops:g}", size=17, anchor="mt")
        _text(self._pen, (axes.right, axes.top - 18), "top-1, %", size=17, anchor="rs")
        middle = (axes.left + axes.right) / 2
        _text(self._pen, (middle, axes.bottom + 56), "GFLOPs over all views", size=17, anchor="ms")

    def _marks(self, point: Point, color: str) -> Iterator[Box]:
        """Draws a ring where it was published and a disc where it was measured; gives the room they take."""
        x = self._x(point.gflops)
        if len(point.accuracies) == 2:
            first, second = map(self._y, point.accuracies)
            self._pen.line(_scale_up((x, first, x, second)), color, 2 * SUPERSAMPLING)
            yield Box(x - 2, min(first, second), x + 2, max(first, second))
        if point.published is not None:
            _ring(self._pen, (x, self._y(point.published)), color)
        if point.measured is not None:
            _disc(self._pen, (x, self._y(point.measured)), color)
        for top1 in point.accuracies:
            y = self._y(top1)
            yield Box(x - DOT, y - DOT, x + DOT, y + DOT)

    def _label(self, point: Point, occupied: Sequence[Box]) -> Box:
        """Writes the name near the upper mark, where nothing is yet; farther away with a line to it."""
        x, y = self._x(point.gflops), self._y(max(point.accuracies))
        font = ImageFont.load_default(16)
        width, height = font.getlength(point.label) + 4, 20.0
        places = list(_label_boxes(x, y, width, height))
        inside = [place for place in places if self._contains(place)]
        free = (place for place in inside if not any(place.overlaps(other) for other in occupied))
        box = next(free, (inside or places)[0])
        middle = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        edge = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
        if math.dist((x, y), edge) > 2 * DOT:
            self._pen.line(_scale_up((x, y, *edge)), FAINT, SUPERSAMPLING)
        _text(self._pen, middle, point.label, size=16, anchor="mm")
        return box

    def _contains(self, box: Box) -> bool:
        axes = self._axes
        return (
            axes.left <= box.left
            and box.right <= axes.right
            and axes.top <= box.top
            and box.bottom <= axes.bottom
        )

    def _x(self, gflops: float) -> float:
        low, high = self._x_range
        axes = self._axes
        return axes.left + (axes.right - axes.left) * (math.log10(gflops) - low) / (high - low)

    def _y(self, top1: float) -> float:
        low, high = self._y_range
        axes = self._axes
        return axes.bottom - (axes.bottom - axes.top) * (top1 - low) / (high - low)


def _label_boxes(x: float, y: float, width: float, height: float) -> Iterator[Box]:
    """Where the label of a mark may stand, the nearest first."""
    for distance in (DOT + 3, 30, 55, 85, 120, 160):
        for across, down in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)):
            middle_x = x + across * (distance + width / 2)
            middle_y = y + down * (distance + height / 2)
            yield Box(
                middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2
            )


def _wrap(names: Sequence[str], width: float) -> list[list[tuple[float, str]]]:
    """The names in lines of a width, each with its distance from the left."""
    lines: list[list[tuple[float, str]]] = [[]]
    x = 0.0
    for name in names:
        needed = 50 + ImageFont.load_default(18).getlength(name)
        if lines[-1] and x + needed > width:
            lines.append([])
            x = 0.0
        lines[-1].append((x, name))
        x += needed
    return lines


def _legend_line(
    pen: ImageDraw.ImageDraw, y: float, line: Sequence[tuple[float, str]], color_of: dict[str, str]
) -> None:
    """What rings and discs are, and the colours of the families."""
    for distance, name in line:
        x = LEFT + distance
        if name in color_of:
            pen.rectangle(_scale_up((x - 8, y - 8, x + 8, y + 8)), color_of[name])
        else:
            {"published": _ring, "measured": _disc}[name](pen, (x, y), INK)
        _text(pen, (x + 16, y), name, size=18, anchor="lm")


def _ring(pen: ImageDraw.ImageDraw, at: tuple[float, float], color: str) -> None:
    pen.circle(_scale_up(at), DOT * SUPERSAMPLING, "white", color, round(2.5 * SUPERSAMPLING))


def _disc(pen: ImageDraw.ImageDraw, at: tuple[float, float], color: str) -> None:
    pen.circle(_scale_up(at), (DOT - 2) * SUPERSAMPLING, color)


def _text(
    pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, *, size: int, anchor: str = "ls"
) -> None:
    pen.text(_scale_up(at), text, INK, ImageFont.load_default(size * SUPERSAMPLING), anchor=anchor)


def ticks(low: float, high: float) -> list[float]:
    """Round percentages from low to high, MAX_TICKS at most."""
    step = next((step for step in TICK_STEPS if (high - low) / step < MAX_TICKS), TICK_STEPS[-1])
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 1) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 of every power of ten from low to high; powers alone where those are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1,)):
        found = [float(f"{m}e{power}") for power in powers for m in mantissas if low <= m * 10**power <= high]
        if len(found) <= MAX_TICKS:
            return found
    return found


def _pad_range(low: float, high: float, *, by: float, min_width: float) -> tuple[float, float]:
    """The range with a share of itself more at both ends, and `least` wide."""
    margin = max((high - low) * by, (min_width - (high - low)) / 2)
    return low - margin, high + margin


def _scale_up(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(number * SUPERSAMPLING for number in numbers)
