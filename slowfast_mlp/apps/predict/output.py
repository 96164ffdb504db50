"""Predictions in words and in JSON: tables, lines, and the segments of a video."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from slowfast_mlp.apps.predict.predictor import Prediction, Ranked

BOLD, FAINT, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class Segment(NamedTuple):
    """A stretch of a video over which one class is the best, and its mean probability there."""

    start_sec: float
    end_sec: float
    best: Ranked


def table(prediction: Prediction, k: int, *, use_color: bool) -> str:
    """The path, and a line for each of the k best classes."""
    lines = [prediction.path]
    rows = prediction.top(k)
    width = max((len(row.name) for row in rows), default=0)
    for place, row in enumerate(rows, start=1):
        line = f"  {place:>2}  {row.name:<{width}}  {100 * row.probability:5.1f} %"
        lines.append(f"{BOLD}{line}{PLAIN}" if use_color and place == 1 else line)
    if prediction.failure:
        what = f"only {prediction.num_views} views: " if prediction.num_views else "cannot be read: "
        lines.append(f"  {what}{prediction.failure}")
    return "\n".join(lines)


def format_window(prediction: Prediction, k: int, *, use_color: bool) -> str:
    """When, and the k best classes, in a line."""
    best, *others = (f"{row.name} {100 * row.probability:.1f} %" for row in prediction.top(k))
    rest = "".join(f"   {other}" for other in others)
    when = f"{format_time(prediction.start_sec)} - {format_time(prediction.end_sec)}"
    return f"  {when}  {BOLD}{best}{PLAIN}{FAINT}{rest}{PLAIN}" if use_color else f"  {when}  {best}{rest}"


def as_json(prediction: Prediction, k: int) -> str:
    """A line of JSON."""
    fields: dict[str, Any] = {"path": prediction.path}
    if prediction.start_sec is not None:
        fields |= {"start_sec": round(prediction.start_sec, 3), "end_sec": round(prediction.end_sec, 3)}
    fields |= {"num_views": prediction.num_views, "top": [row._asdict() for row in prediction.top(k)]}
    if prediction.failure:
        fields["failure"] = prediction.failure
    return json.dumps(fields, ensure_ascii=False)


def failure_as_json(path: str, reason: str) -> str:
    """A line of JSON for what could not be read to its end."""
    return json.dumps({"path": path, "failure": reason}, ensure_ascii=False)


def window_spans(windows: Sequence[Prediction]) -> list[tuple[float, float]]:
    """What every window stands for: the times that are nearer to its middle than to that of another."""
    middles = [(window.start_sec + window.end_sec) / 2 for window in windows]
    borders = [(one + other) / 2 for one, other in pairwise(middles)]
    return list(zip([windows[0].start_sec, *borders], [*borders, windows[-1].end_sec]))


def segments(windows: Sequence[Prediction]) -> list[Segment]:
    """Neighbouring windows with the same best class, joined."""
    runs: list[list[tuple[float, float, Ranked]]] = []
    for (start, end), window in zip(window_spans(windows), windows):
        (best,) = window.top(1)
        if not runs or runs[-1][-1][2].label != best.label:
            runs.append([])
        runs[-1].append((start, end, best))
    found = []
    for run in runs:
        probability, score = (
            sum(getattr(best, field) for _, _, best in run) / len(run) for field in ("probability", "score")
        )
        best = run[0][2]._replace(probability=probability, score=score)
        found.append(Segment(run[0][0], run[-1][1], best))
    return found


def segments_as_json(path: str, windows: Sequence[Prediction], k: int) -> str:
    """The segments of a video and the windows that they were made of."""
    joined = [
        {"start_sec": round(start, 3), "end_sec": round(end, 3), **best._asdict()}
        for start, end, best in segments(windows)
    ]
    lines = [json.loads(as_json(window, k)) for window in windows]
    for line in lines:
        del line["path"]
    return json.dumps({"path": path, "segments": joined, "windows": lines}, ensure_ascii=False, indent=1)


def format_time(seconds: float) -> str:
    """1:02.5, or 1:01:02.5 after an hour."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"
    return f"{hours}:{text}" if hours else text
