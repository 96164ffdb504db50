"""The parts of a run's page, each from what the run left."""

from collections.abc import Sequence
from typing import Any

from slowfast_mlp.apps.report.html import (
    cards,
    details,
    figure,
    figures,
    image,
    paragraph,
    section,
    stacked,
    table,
)
from slowfast_mlp.apps.report.run_dir import RunDir, percent
from slowfast_mlp.apps.visualize import calibration, charts, confusion
from slowfast_mlp.apps.visualize.charts import Curve
from slowfast_mlp.apps.visualize.pictures import draw_matrix
from slowfast_mlp.apps.visualize.predictions import Predictions

MAX_NAMED = 20  # classes whose names fit next to a matrix or bars
NUM_PAIRS = 15
MAX_FAILED = 200
# Title, unit, and the lines: kind and value of metrics.jsonl, name, factor.
CURVES = (
    ("Loss", "loss (nats)", (("train", "loss", "training", 1.0),)),
    (
        "Accuracy",
        "accuracy (%)",
        (
            ("train", "top1", "training top-1", 1.0),
            ("val", "top1", "validation top-1", 1.0),
            ("val", "top5", "validation top-5", 1.0),
        ),
    ),
    ("Learning rate", "learning rate", (("train", "lr", "learning rate", 1.0),)),
    ("Throughput", "clips per second", (("train", "clips_per_sec", "training", 1.0),)),
    ("Data wait", "share of the time (%)", (("train", "data_wait", "waiting for data", 100.0),)),
    ("Gradient norm", "L2 norm", (("train_epoch", "grad_norm", "mean of the epoch", 1.0),)),
)


def head(run: RunDir) -> str:
    """The figures that matter, and what could not be read."""
    test, best = run.newest("test"), max((line["top1"] for line in run.lines_of("val")), default=None)
    last = run.newest("train_epoch") or run.newest("train")
    facts = []
    if test:
        names = (("top1", "test top-1"), ("top5", "test top-5"))  # no top-5 of five classes and fewer
        facts += [(title, percent(test[name])) for name, title in names if name in test]
    if best is not None:
        facts.append(("best validation top-1", percent(best)))
    if last:
        total = run.settings.get("SOLVER.MAX_EPOCH")
        facts.append(("epochs done", f"{last['epoch']}{f' of {total}' if total else ''}"))
    tested = f"Tested: {test['checkpoint']}, {test['views']}." if test else ""
    return cards(facts) + paragraph(tested, faint=True) + "".join(map(paragraph, run.remarks))


def settings(run: RunDir, defaults: dict[str, Any]) -> str:
    """Those that were set, then all."""
    changed = {key: value for key, value in run.settings.items() if value != defaults.get(key)}
    rows = [(key, format_value(value), format_value(defaults.get(key))) for key, value in changed.items()]
    every = table(("setting", "value"), [(key, format_value(value)) for key, value in run.settings.items()])
    return section(
        "Settings",
        table(("setting", "value", "default"), rows),
        details(f"All {len(run.settings)} settings", every),
    )


def curves(run: RunDir) -> str:
    """The curves of a run over epochs."""
    drawn = []
    for title, unit, curves_of_figure in CURVES:
        lines = [
            run.curve(kind, value, name=name, factor=factor) for kind, value, name, factor in curves_of_figure
        ]
        # One line of several that might be there has to be named too.
        shown = [line for line in lines if line.points]
        drawn.append(_chart(title, unit, shown, is_named=len(curves_of_figure) > 1))
    return section("Curves", figures(drawn))


def overlaid_curves(runs: Sequence[RunDir]) -> str:
    """The curves of several runs over each other, a figure for every value: a run looks the same in all."""
    drawn = []
    for title, unit, curves_of_figure in CURVES:
        for kind, value, name, factor in curves_of_figure:
            lines = [run.curve(kind, value, name=run.name, factor=factor) for run in runs]
            full_title = title if len(curves_of_figure) == 1 else f"{title}: {name}"
            drawn.append(_chart(full_title, unit, lines, is_named=len(lines) > 1))
    return section("Curves", figures(drawn))


def _chart(title: str, unit: str, lines: Sequence[Curve], *, is_named: bool) -> str:
    chart = charts.line_chart(lines, title=title, x_name="epoch", y_name=unit)
    keys = charts.legend([line.name for line in lines]) if is_named else ""
    size = max((-(-len(line.points) // charts.MAX_POINTS) for line in lines), default=1)
    note = f" Each point is the mean of {size} lines of the log." if size > 1 else ""
    return figure(title, chart, keys + note)


def test_results(predictions: Predictions | None) -> str:
    """What a test got wrong, and whether its probabilities are right."""
    if predictions is None:
        return ""
    matrix = confusion.confusion_matrix(predictions)
    unseen = int((~predictions.has_views).sum())
    note = f"{unseen} videos gave no view: they count as wrong, and are not in the matrix." if unseen else ""
    return section(
        "Test",
        paragraph(note),
        figures([_bars(predictions), _reliability(predictions)]),
        stacked(_matrices(predictions, matrix)),
        _pairs(predictions, matrix),
        _all_classes(predictions),
    )


def _bars(predictions: Predictions) -> str:
    """The worst classes, all where they are few."""
    rows = confusion.class_accuracies(predictions)
    shown = [
        (
            predictions.name(row.label),
            row.percent,
            f"{predictions.name(row.label)}: {row.num_correct} of {row.num_videos} right",
        )
        for row in rows[:MAX_NAMED]
    ]
    title = "Accuracy by class"
    title = title if len(rows) <= MAX_NAMED else f"The {MAX_NAMED} classes with the lowest accuracy"
    return figure(title, charts.bar_chart(shown, title=title, x_name="right (% of the videos of the class)"))


def _reliability(predictions: Predictions) -> str:
    bins = calibration.reliability_bins(predictions)
    title = "Calibration"
    if not bins:
        return figure(title, paragraph("The predictions have no probabilities: test again to have them."))
    error = 100 * calibration.calibration_error(bins)
    caption = (
        f"Expected calibration error {error:.2f} % ({calibration.NUM_BINS} bins of equal width, "
        f"{sum(one.num_videos for one in bins)} videos). Bars: share that is right; dots: at the mean "
        "probability of the bin; dashed: right as often as said."
    )
    return figure(
        title, charts.reliability_chart(bins, title=f"Reliability diagram, ECE {error:.2f} %"), caption
    )


def _matrices(predictions: Predictions, matrix: Any) -> str:
    """The whole matrix with names where it is small; else its picture, and the part that is most confused."""
    K = predictions.num_classes
    chosen = confusion.most_confused(matrix, MAX_NAMED)
    part = matrix[chosen][:, chosen]
    names = [predictions.name(label) for label in chosen]
    title = "Confusion matrix" if len(chosen) == K else f"The {len(chosen)} classes most confused"
    totals = matrix.sum(dim=1)[chosen].tolist()
    drawn = figure(
        title,
        charts.matrix_chart(part, names, totals, title=title) if chosen else "",
        "Videos by label (rows) and best class (columns); the stronger the colour, the larger the share of "
        "the label's videos.",
        kind="wide",
    )
    if len(chosen) == K:
        return drawn
    whole = draw_matrix(matrix, predictions.label_names, "Confusion matrix")
    title = f"All {K} classes"
    return drawn + figure(title, image(whole, title, is_photo=False), kind="wide")


def _pairs(predictions: Predictions, matrix: Any) -> str:
    rows = [
        (
            predictions.name(pair.label),
            predictions.name(pair.predicted),
            pair.count,
            f"{100 * pair.share:.0f} %",
        )
        for pair in confusion.worst_pairs(matrix, NUM_PAIRS)
    ]
    drawn = table(("label", "taken for", "videos", "of the label"), rows)
    return f"<h3>Most frequent mistakes</h3>{drawn}" if rows else ""


def _all_classes(predictions: Predictions) -> str:
    rows = [
        (row.label, predictions.name(row.label), row.num_correct, row.num_videos, percent(row.percent))
        for row in confusion.class_accuracies(predictions)
    ]
    return details("Accuracy of all classes", table(("number", "class", "right", "videos", "accuracy"), rows))


def failed_videos(run: RunDir) -> str:
    """What could not be decoded."""
    rows = [(kind, path, times, reason) for kind, path, times, reason in run.failed[:MAX_FAILED]]
    more = f"{len(run.failed) - MAX_FAILED} more are in the lists." if len(run.failed) > MAX_FAILED else ""
    shown = table(("in", "video", "how often", "reason"), rows) or paragraph("None.", faint=True)
    return section("Videos that could not be decoded", shown, paragraph(more))


def environment(run: RunDir) -> str:
    """Versions and the facts of the start."""
    return section("Environment", table(("what", ""), list(run.environment.items())))


def format_value(value: Any) -> str:
    """A value as a YAML file would have it."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(format_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {format_value(item)}' for key, item in value.items())}}}"
    return f"{value:g}" if isinstance(value, float) else str(value)
