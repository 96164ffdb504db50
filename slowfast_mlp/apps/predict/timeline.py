"""A picture of the classes of a video over time: their probabilities as lines, and the best as a strip."""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont

from slowfast_mlp.apps.predict.captions import shortened
from slowfast_mlp.apps.predict.output import segments
from slowfast_mlp.apps.predict.predictor import Prediction

# Okabe and Ito's, which people who do not see all colours can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
OTHERS, GRID, INK = "#B0B0B0", "#E2E2E2", "#222222"
WIDTH, HEIGHT = 1600, 800
LEFT, RIGHT, TOP, BOTTOM = 110, 1210, 90, 560  # of the lines
STRIP_TOP, STRIP_BOTTOM = 610, 690
LEGEND_LEFT = 1245
SHARPNESS = 2  # drawn larger and shrunk: Pillow's own lines are jagged
STEPS_SEC = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
MOST_TICKS = 11


def draw_timeline(windows: Sequence[Prediction], title: str) -> Image.Image:
    """The picture of all windows of one video, [HEIGHT, WIDTH]; the classes that lead most come first."""
    best = main_classes(windows)
    colour_of = dict(zip(best, COLOURS))
    canvas = _Canvas(windows[0].start_sec, windows[-1].end_sec)
    canvas.text((LEFT, 36), shortened(title, canvas.font(24), RIGHT - LEFT), size=24)
    canvas.axes()
    for label in reversed(best):  # the first lies on top
        middles = [(window.start_sec + window.end_sec) / 2 for window in windows]
        shares = [float(window.probabilities[label]) for window in windows]
        canvas.line(list(zip(middles, shares)), colour_of[label])
    for start, end, top in segments(windows):
        canvas.strip(start, end, colour_of.get(top.label, OTHERS))
    canvas.text((LEFT, STRIP_TOP - 12), "best class", size=18, anchor="ls")
    names = [(windows[0].label_names[label], colour_of[label]) for label in best]
    has_others = any(top.label not in colour_of for _, _, top in segments(windows))
    canvas.legend([*names, *([("other classes", OTHERS)] if has_others else [])])
    return canvas.picture()


def picture_endings() -> set[str]:
    """The endings of files that a picture can be saved as, such as .png."""
    kinds = Image.registered_extensions()
    return {ending for ending, kind in kinds.items() if kind in Image.SAVE}


def main_classes(windows: Sequence[Prediction]) -> list[int]:
    """Up to as many classes as there are colours: those that are best in most windows, then the likeliest."""
    shares = torch.stack([window.probabilities for window in windows])  # N K
    leads = torch.bincount(shares.argmax(dim=1), minlength=shares.shape[1])
    rank = leads.double() + shares.mean(dim=0) / 2  # the mean is at most 1: it only orders equals
    return rank.argsort(descending=True, stable=True)[: len(COLOURS)].tolist()


class _Canvas:
    """The picture, in units of its final pixels; times run from `start_sec` at LEFT to `end_sec` at RIGHT."""

    def __init__(self, start_sec: float, end_sec: float):
        self._start, self._end = start_sec, max(end_sec, start_sec + 1e-3)
        self._picture = Image.new("RGB", (WIDTH * SHARPNESS, HEIGHT * SHARPNESS), "white")
        self._pen = ImageDraw.Draw(self._picture)

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """Pillow's own, which every machine has."""
        return ImageFont.load_default(size)

    def text(self, at: tuple[float, float], text: str, *, size: int, anchor: str = "ls") -> None:
        self._pen.text(_larger(at), text, INK, self.font(size * SHARPNESS), anchor=anchor)

    def x(self, seconds: float) -> float:
        return LEFT + (RIGHT - LEFT) * (seconds - self._start) / (self._end - self._start)

    def axes(self) -> None:
        """A grid with a percentage at every quarter and a time at every tick."""
        for percent in (0, 25, 50, 75, 100):
            y = _y(percent / 100)
            self._pen.line(_larger((LEFT, y, RIGHT, y)), GRID, SHARPNESS)
            self.text((LEFT - 12, y), f"{percent} %", size=18, anchor="rm")
        for seconds in ticks(self._start, self._end):
            x = self.x(seconds)
            self._pen.line(_larger((x, TOP, x, BOTTOM)), GRID, SHARPNESS)
            self.text((x, STRIP_BOTTOM + 14), tick_text(seconds, self._end), size=18, anchor="mt")
        self.text((LEFT, TOP - 16), "probability", size=18)
        self.text(((LEFT + RIGHT) / 2, HEIGHT - 34), "time in the video", size=18, anchor="ms")

    def line(self, points: list[tuple[float, float]], colour: str) -> None:
        """Through (seconds, share) points; a single one is a dot."""
        places = [_larger((self.x(seconds), _y(share))) for seconds, share in points]
        if len(places) > 1:
            self._pen.line(places, colour, 4 * SHARPNESS, joint="curve")
        else:
            self._pen.circle(places[0], 7 * SHARPNESS, colour)

    def strip(self, start: float, end: float, colour: str) -> None:
        self._pen.rectangle(_larger((self.x(start), STRIP_TOP, self.x(end), STRIP_BOTTOM)), colour)

    def legend(self, names: list[tuple[str, str]]) -> None:
        """A box of the colour and the name, one under the other, in two lines where the name is long."""
        top = float(TOP)
        font = self.font(20)
        for name, colour in names:
            self._pen.rectangle(_larger((LEGEND_LEFT, top, LEGEND_LEFT + 22, top + 22)), colour)
            for text in _in_lines(name, font, WIDTH - LEGEND_LEFT - 56):
                self.text((LEGEND_LEFT + 34, top + 11), text, size=20, anchor="lm")
                top += 28
            top += 14

    def picture(self) -> Image.Image:
        return self._picture.reduce(SHARPNESS)


def ticks(start: float, end: float) -> list[float]:
    """Round times between start and end, MOST_TICKS at most."""
    step = next((step for step in STEPS_SEC if (end - start) / step < MOST_TICKS), None)
    step = step or STEPS_SEC[-1] * -(-(end - start) // (STEPS_SEC[-1] * (MOST_TICKS - 1)))
    first = -(-start // step)
    return [number * step for number in range(int(first), int(end / step + 1e-9) + 1)]


def tick_text(seconds: float, end: float) -> str:
    """A time: seconds for videos under a minute, else minutes, else hours."""
    if end < 60:
        return f"{seconds:g} s" if seconds >= 1 or not seconds else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if end >= 3600 else f"{minutes}:{rest:02d}"


def _in_lines(name: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The name in a line, or in two at a blank."""
    words, lines = name.split(), [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width and len(lines) < 2:
            lines.append(word)
        else:
            lines[-1] = longer
    return [shortened(line, font, width) for line in lines]


def _y(share: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * share


def _larger(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(number * SHARPNESS for number in numbers)
