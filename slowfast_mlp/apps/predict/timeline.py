"""A picture of the classes of a video over time: their probabilities as lines, and the best as a strip."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont

from slowfast_mlp.apps.predict.captions import truncate_text
from slowfast_mlp.apps.predict.output import segments
from slowfast_mlp.apps.predict.predictor import Prediction

# Okabe and Ito's, which people who do not see all colours can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
OTHERS, GRID, INK = "#B0B0B0", "#E2E2E2", "#222222"
WIDTH, HEIGHT = 1600, 800
LEFT, RIGHT, TOP, BOTTOM = 110, 1210, 90, 560  # of the lines
STRIP_TOP, STRIP_BOTTOM = 610, 690
LEGEND_LEFT = 1245
SUPERSAMPLING = 2  # drawn larger and shrunk: Pillow's own lines are jagged
TICK_STEPS_SEC = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
MAX_TICKS = 11


def draw_timeline(windows: Sequence[Prediction], title: str) -> Image.Image:
    """The picture of all windows of one video, [HEIGHT, WIDTH]; the classes that lead most come first."""
    best = leading_classes(windows)
    color_of = dict(zip(best, COLORS))
    canvas = _Canvas(windows[0].start_sec, windows[-1].end_sec)
    canvas.text((LEFT, 36), truncate_text(title, canvas.font(24), RIGHT - LEFT), size=24)
    canvas.axes()
    for label in reversed(best):  # the first lies on top
        middles = [(window.start_sec + window.end_sec) / 2 for window in windows]
        shares = [float(window.probabilities[label]) for window in windows]
        canvas.line(list(zip(middles, shares)), color_of[label])
    for start, end, top in segments(windows):
        canvas.strip(start, end, color_of.get(top.label, OTHERS))
    canvas.text((LEFT, STRIP_TOP - 12), "best class", size=18, anchor="ls")
    names = [(windows[0].label_names[label], color_of[label]) for label in best]
    has_others = any(top.label not in color_of for _, _, top in segments(windows))
    canvas.legend([*names, *([("other classes", OTHERS)] if has_others else [])])
    return canvas.picture()


def image_suffixes() -> set[str]:
    """The endings of files that a picture can be saved as, such as .png."""
    kinds = Image.registered_extensions()
    return {ending for ending, kind in kinds.items() if kind in Image.SAVE}


def leading_classes(windows: Sequence[Prediction]) -> list[int]:
    """Up to as many classes as there are colours: those that are best in most windows, then the likeliest."""
    shares = torch.stack([window.probabilities for window in windows])  # N K
    leads = torch.bincount(shares.argmax(dim=1), minlength=shares.shape[1])
    rank = leads.double() + shares.mean(dim=0) / 2  # the mean is at most 1: it only orders equals
    return rank.argsort(descending=True, stable=True)[: len(COLORS)].tolist()


class _Canvas:
    """The picture, in units of its final pixels; times run from `start_sec` at LEFT to `end_sec` at RIGHT."""

    def __init__(self, start_sec: float, end_sec: float):
        self._start, self._end = start_sec, max(end_sec, start_sec + 1e-3)
        self._picture = Image.new("RGB", (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING), "white")
        self._pen = ImageDraw.Draw(self._picture)

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """Pillow's own, which every machine has."""
        return ImageFont.load_default(size)

    def text(self, at: tuple[float, float], text: str, *, size: int, anchor: str = "ls") -> None:
        self._pen.text(_scale_up(at), text, INK, self.font(size * SUPERSAMPLING), anchor=anchor)

    def x(self, seconds: float) -> float:
        return LEFT + (RIGHT - LEFT) * (seconds - self._start) / (self._end - self._start)

    def axes(self) -> None:
        """A grid with a percentage at every quarter and a time at every tick."""
        for percent in (0, 25, 50, 75, 100):
            y = _y(percent / 100)
            self._pen.line(_scale_up((LEFT, y, RIGHT, y)), GRID, SUPERSAMPLING)
            self.text((LEFT - 12, y), f"{percent} %", size=18, anchor="rm")
        for seconds in ticks(self._start, self._end):
            x = self.x(seconds)
            self._pen.line(_scale_up((x, TOP, x, BOTTOM)), GRID, SUPERSAMPLING)
            self.text((x, STRIP_BOTTOM + 14), format_tick(seconds, self._end), size=18, anchor="mt")
        self.text((LEFT, TOP - 16), "probability", size=18)
        self.text(((LEFT + RIGHT) / 2, HEIGHT - 34), "time in the video", size=18, anchor="ms")

    def line(self, points: list[tuple[float, float]], color: str) -> None:
        """Through (seconds, share) points; a single one is a dot."""
        places = [_scale_up((self.x(seconds), _y(share))) for seconds, share in points]
        if len(places) > 1:
            self._pen.line(places, color, 4 * SUPERSAMPLING, joint="curve")
        else:
            self._pen.circle(places[0], 7 * SUPERSAMPLING, color)

    def strip(self, start: float, end: float, color: str) -> None:
        self._pen.rectangle(_scale_up((self.x(start), STRIP_TOP, self.x(end), STRIP_BOTTOM)), color)

    def legend(self, names: list[tuple[str, str]]) -> None:
        """A box of the color and the name, one under the other, in two lines where the name is long."""
        top = float(TOP)
        font = self.font(20)
        for name, color in names:
            self._pen.rectangle(_scale_up((LEGEND_LEFT, top, LEGEND_LEFT + 22, top + 22)), color)
            for text in _wrap(name, font, WIDTH - LEGEND_LEFT - 56):
                self.text((LEGEND_LEFT + 34, top + 11), text, size=20, anchor="lm")
                top += 28
            top += 14

    def picture(self) -> Image.Image:
        return self._picture.reduce(SUPERSAMPLING)


def ticks(start: float, end: float) -> list[float]:
    """Round times between start and end, MAX_TICKS at most."""
    step = next((step for step in TICK_STEPS_SEC if (end - start) / step < MAX_TICKS), None)
    step = step or TICK_STEPS_SEC[-1] * -(-(end - start) // (TICK_STEPS_SEC[-1] * (MAX_TICKS - 1)))
    first = -(-start // step)
    return [number * step for number in range(int(first), int(end / step + 1e-9) + 1)]


def format_tick(seconds: float, end: float) -> str:
    """A time: seconds for videos under a minute, else minutes, else hours."""
    if end < 60:
        return f"{seconds:g} s" if seconds >= 1 or not seconds else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if end >= 3600 else f"{minutes}:{rest:02d}"


def _wrap(name: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The name in a line, or in two at a blank."""
    words, lines = name.split(), [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width and len(lines) < 2:
            lines.append(word)
        else:
            lines[-1] = longer
    return [truncate_text(line, font, width) for line in lines]


def _y(share: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * share


def _scale_up(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(number * SUPERSAMPLING for number in numbers)
