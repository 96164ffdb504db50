"""Figures as SVG text: lines over time, bars, a reliability diagram, a matrix with names.

Colours and letters come from the page that the SVG stands in (slowfast_mlp/apps/report/html.py), so that they
follow its dark mode. A figure is as wide as a phone, so that its letters need not be shrunk there; tooltips
are SVG's own.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from torch import Tensor

from slowfast_mlp.apps.visualize.calibration import Bin

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 350, 12, 196  # of the axes
MAX_POINTS = 300  # of a line; of more, neighbours are joined to their mean
NUM_COLOURS = 6  # --c0 to --c5 of the page
DASHES = ("", "6 3", "2 3")  # a second sign next to the colour, and more lines than there are colours
MAX_TICKS = 6
FEW_POINTS = 30  # of a line whose points are seen
CELL = 26
MATRIX_NAME, LETTER = 22, 6.2  # letters of a name next to a matrix, and the width of one
MATRIX_HEAD = 140  # room for what rows and columns are


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line of a chart: its name and points (x, y); a y that is None or not finite leaves a gap."""

    name: str
    points: Sequence[tuple[float, float | None]]


def line_chart(lines: Sequence[Curve], *, title: str, x_name: str, y_name: str) -> str:
    """Lines over shared axes, which name their units; the y axis holds 0 where that wastes no more than half
    of it, and an axis of one value leads from 0 to it. Empty where no line has a point.
    """
    shown = [(number, line, list(_segments(downsample(line.points)))) for number, line in enumerate(lines)]
    points = [point for _, _, runs in shown for run in runs for point in run]
    if not points:
        return ""
    xs, ys = zip(*points)
    x_ticks = nice_ticks(*_axis_range(min(xs), max(xs)))
    low, high = _axis_range(min(ys), max(ys))
    y_ticks = nice_ticks(0 if 0 <= low < high / 2 else low, high)
    axes = _Axes((x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1]))
    parts = [*axes.frame(x_ticks, y_ticks, x_name, y_name)]
    for number, line, runs in shown:
        style = f'class="line" {_stroke(number)}'
        for run in runs:
            places = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in run)
            if len(run) == 1:
                x, y = run[0]
                parts.append(f'<circle cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="3" {_fill(number)}/>')
            else:
                parts.append(f'<polyline points="{places}" {style}/>')
        parts += _markers(axes, line, runs, number)
    return _svg(parts, title, WIDTH, HEIGHT)


def _axis_range(low: float, high: float) -> tuple[float, float]:
    """What an axis spans: of a single value the way from 0 to it, for a scale needs two."""
    return (low, high) if low < high else (min(low, 0), max(high, 0) or (0 if low else 1))


def _markers(axes: "_Axes", line: Curve, runs: list[list[tuple[float, float]]], number: int) -> Iterator[str]:
    """Unseen dots that a pointer finds; with few points they are seen."""
    points = [point for run in runs for point in run]
    kind, radius = ("dot", 2.5) if len(points) <= FEW_POINTS else ("hint", 4)
    for x, y in points:
        yield (
            f'<circle class="{kind}" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="{radius}" {_fill(number)}>'
            f"<title>{escape(line.name)}: {y:.4g} at {x:.4g}</title></circle>"
        )


def legend(names: Sequence[str]) -> str:
    """The names of the lines with a piece of each, as HTML that wraps."""
    return "".join(
        f'<span class="key"><svg width="26" height="10" aria-hidden="true"><line x1="1" x2="25" y1="5" '
        f'y2="5" class="line" {_stroke(number)}/></svg>{escape(name)}</span>'
        for number, name in enumerate(names)
    )


def reliability_chart(bins: Sequence[Bin], *, title: str) -> str:
    """Accuracy over confidence: a bar a bin, over the line on which both are the same."""
    axes = _Axes((0.0, 1.0), (0.0, 1.0))
    ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    parts = [*axes.frame(ticks, ticks, "probability of the best class", "share that is right")]
    for one in bins:
        left, right = axes.x(one.low), axes.x(one.high)
        tooltip = (
            f"{one.low:.2f} to {one.high:.2f}: {one.num_videos} videos, mean probability "
            f"{one.confidence:.3f}, right {one.accuracy:.3f}"
        )
        x, y = axes.x(one.confidence), axes.y(one.accuracy)
        parts.append(
            f'<rect class="bar" x="{left + 0.5:.1f}" y="{y:.1f}" width="{right - left - 1:.1f}" '
            f'height="{BOTTOM - y:.1f}"><title>{tooltip}</title></rect>'
        )
        parts.append(f'<circle class="mean" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    parts.append(f'<line class="ideal" x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{TOP}"/>')
    return _svg(parts, title, WIDTH, HEIGHT)


def bar_chart(rows: Sequence[tuple[str, float, str]], *, title: str, x_name: str) -> str:
    """A bar from 0 to 100 for every (name, percent, tooltip), one under the other."""
    row, left, right = 20, 150, RIGHT - 8  # room for half of the last number
    bottom = 8 + row * len(rows)
    parts = []
    for percent in (0, 25, 50, 75, 100):
        x = left + (right - left) * percent / 100
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="4" y2="{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 14}" text-anchor="middle">{percent}</text>')
    for number, (name, percent, tooltip) in enumerate(rows):
        top = 6 + number * row
        width = (right - left) * percent / 100
        parts.append(
            f'<text x="{left - 6}" y="{top + 13}" text-anchor="end">{escape(_truncate(name, 22))}</text>'
        )
        parts.append(
            f'<rect class="bar" x="{left}" y="{top + 2}" width="{max(width, 1):.1f}" height="{row - 5}">'
            f"<title>{escape(tooltip)}</title></rect>"
        )
    parts.append(
        f'<text x="{(left + right) / 2}" y="{bottom + 32}" text-anchor="middle">{escape(x_name)}</text>'
    )
    return _svg(parts, title, WIDTH, bottom + 40)


def matrix_chart(matrix: Tensor, names: Sequence[str], totals: Sequence[int], *, title: str) -> str:
    """A matrix [K, K] of counts by label (row) and best class (column), the cells as strong as their share of
    the `totals` of the labels; of its own size, for a frame that scrolls.
    """
    K, short = len(matrix), [_truncate(name, MATRIX_NAME) for name in names]
    head = max(MATRIX_HEAD, 16 + LETTER * max(map(len, short)))
    counts = matrix.tolist()
    side = head + K * CELL
    parts = [f'<text x="{head - 8}" y="{head - 8}" text-anchor="end">label \u2193  best class \u2192</text>']
    for k, name in enumerate(map(escape, short)):
        middle, end = head + (k + 0.5) * CELL + 4, head - 6
        parts.append(f'<text x="{end}" y="{middle}" text-anchor="end">{name}</text>')
        parts.append(f'<text x="{middle}" y="{end}" transform="rotate(-90 {middle} {end})">{name}</text>')
    for row in range(K):
        for column in range(K):
            parts.append(_cell(row, column, counts[row][column], totals[row], names, head))
    return _svg(parts, title, side + 8, side + 8, fixed=True)


def _cell(row: int, column: int, count: int, total: int, names: Sequence[str], head: int) -> str:
    share = count / total if total else 0.0
    x, y = head + column * CELL, head + row * CELL
    ink = "on" if share > 0.55 else "off"
    number = (
        f'<text class="{ink}" x="{x + CELL / 2}" y="{y + CELL / 2 + 4}" text-anchor="middle">{count}</text>'
    )
    tooltip = f"{names[row]} taken for {names[column]}: {count} of {total}"
    return (
        f'<g><title>{escape(tooltip)}</title><rect class="cell" x="{x}" y="{y}" width="{CELL - 1}" '
        f'height="{CELL - 1}"/><rect class="fill" x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" '
        f'fill-opacity="{share:.3f}"/>{number if count else ""}</g>'
    )


class _Axes:
    """Places of numbers in the figure."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]):
        (self._x0, x1), (self._y0, y1) = x_range, y_range
        self._x_span, self._y_span = (x1 - self._x0) or 1.0, (y1 - self._y0) or 1.0

    def x(self, value: float) -> float:
        return LEFT + (RIGHT - LEFT) * (value - self._x0) / self._x_span

    def y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - self._y0) / self._y_span

    def frame(
        self, x_ticks: Sequence[float], y_ticks: Sequence[float], x_name: str, y_name: str
    ) -> Iterator[str]:
        """Grid, numbers and names of the axes."""
        for tick in y_ticks:
            y = self.y(tick)
            yield f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{format_number(tick)}</text>'
        for tick in x_ticks:
            x = self.x(tick)
            yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{BOTTOM}"/>'
            yield f'<text x="{x:.1f}" y="{BOTTOM + 15}" text-anchor="middle">{format_number(tick)}</text>'
        middle_x, middle_y = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
        yield f'<text x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>'
        yield (
            f'<text x="11" y="{middle_y}" text-anchor="middle" transform="rotate(-90 11 {middle_y})">'
            f"{escape(y_name)}</text>"
        )


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`, steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / (MAX_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def format_number(value: float) -> str:
    """Short enough for an axis: 0.0005 is 5e-4, 20000 is 20k."""
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        mantissa, power = f"{value:.3e}".split("e")
        return f"{float(mantissa):g}e{int(power)}"
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{round(value, 6):g}"


def downsample(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """MAX_POINTS at most: the means of as many neighbours; one that is not finite makes their mean a gap."""
    size = -(-len(points) // MAX_POINTS) or 1
    groups = [points[first : first + size] for first in range(0, len(points), size)]
    return [
        (
            sum(x for x, _ in group) / len(group),
            sum(y for _, y in group) / len(group) if all(_is_number(y) for _, y in group) else None,
        )
        for group in groups
    ]


def _segments(points: Sequence[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    """Stretches without a gap."""
    run: list[tuple[float, float]] = []
    for x, y in points:
        if _is_number(y):
            run.append((x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _is_number(y: float | None) -> bool:
    return y is not None and math.isfinite(y)


def _stroke(number: int) -> str:
    """The colour and dashes of line `number`."""
    dash = DASHES[(number + number // NUM_COLOURS) % len(DASHES)]
    return f'style="stroke:var(--c{number % NUM_COLOURS})" stroke-dasharray="{dash or "none"}"'


def _fill(number: int) -> str:
    return f'style="fill:var(--c{number % NUM_COLOURS})"'


def _truncate(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}\u2026"


def _svg(parts: Sequence[str], title: str, width: float, height: float, *, fixed: bool = False) -> str:
    size = f'width="{width}" height="{height}" ' if fixed else ""
    return (
        f'<svg {size}viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
