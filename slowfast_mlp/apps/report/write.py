"""report.html of a run, or a page that compares several."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from slowfast_mlp.apps.predict.load import load
from slowfast_mlp.apps.predict.predictor import Predictor
from slowfast_mlp.apps.report import compare, sections
from slowfast_mlp.apps.report.html import details, figure, heading, image, page, paragraph, section, stacked
from slowfast_mlp.apps.report.run_dir import RunDir, read_run
from slowfast_mlp.apps.visualize.confusion import confident_mistakes, confusion_matrix
from slowfast_mlp.apps.visualize.explain import (
    ONE_VIEW,
    Explanation,
    draw_saliency_strip,
    explain_video,
    layer_pictures,
    record_from_path,
)
from slowfast_mlp.apps.visualize.pictures import Picture, draw_matrix, image_to_tensor
from slowfast_mlp.apps.visualize.predictions import Predictions
from slowfast_mlp.atomic_file import atomic_write
from slowfast_mlp.config.diff import default_settings
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.errors import UserError

REPORT = "report.html"
NUM_VIDEOS = 6  # whose frames are shown

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Explanations:
    """Pictures of what the model sees: strips of frames with a title, what its layers do, and what was not to
    be had. `are_mistakes` says of which videos.
    """

    are_mistakes: bool = True
    strips: list[tuple[str, Picture]] = field(default_factory=list)
    layers: list[tuple[str, Picture]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """The file, and by name the pictures [H, W, 3] uint8 that TensorBoard may show too, of the weights after
    `epoch` epochs; 0 where that is not known.
    """

    path: Path
    pictures: dict[str, Tensor]
    epoch: int


def write_report(
    output_dir: str,
    *,
    path: Path | None = None,
    device: str = "auto",
    max_seconds: float | None = None,
    progress: Callable[[str], object] = logger.debug,
) -> ReportFiles:
    """Writes the page of the run in `output_dir`, into it unless `path` is given.

    Frames and token mixing are shown where a test was run, its checkpoint is there and a video can be read;
    past `max_seconds` no further video is looked at, and 0 looks at none. Each takes its time, and `progress`
    hears of it before. Raises UserError.
    """
    run = read_run(output_dir)
    explanations = Explanations()
    if run.predictions is not None and max_seconds != 0:
        explanations = _explain_videos(run, run.predictions, device, max_seconds, progress)
    body = (
        heading(run.name)
        + sections.head(run)
        + sections.settings(run, default_settings())
        + sections.curves(run)
        + sections.test_results(run.predictions)
        + _explanations_section(explanations)
        + sections.failed_videos(run)
        + sections.environment(run)
    )
    path = path or run.path / REPORT
    write_page(path, page(f"Report of {run.name}", body))
    pictures = {f"video {number}": one for number, (_, one) in enumerate(explanations.strips, start=1)}
    if run.predictions is not None:
        matrix = confusion_matrix(run.predictions)
        pictures["confusion"] = draw_matrix(matrix, run.predictions.label_names, "Confusion matrix")
    pixels = {name: image_to_tensor(one) for name, one in pictures.items()}
    return ReportFiles(path=path, pictures=pixels, epoch=run.newest("test").get("epoch") or 0)


def write_comparison(output_dirs: Sequence[str], path: Path) -> None:
    """Writes a page on several runs: results, settings that differ, curves over each other. Raises
    UserError.
    """
    runs = compare.with_unique_names([read_run(output_dir) for output_dir in output_dirs])
    title = f"{len(runs)} runs"
    parts = heading(title), compare.results(runs), compare.differences(runs), sections.overlaid_curves(runs)
    write_page(path, page(title, "".join(parts)))


def _explain_videos(
    run: RunDir,
    predictions: Predictions,
    device: str,
    max_seconds: float | None,
    progress: Callable[[str], object],
) -> Explanations:
    """Looks at the most confident mistakes, or where there are none at the first videos."""
    explanations = Explanations()
    checkpoint = run.newest("test").get("checkpoint")
    try:
        predictor = load(
            str(checkpoint),
            config_file=run.config_path and str(run.config_path),
            overrides=ONE_VIEW,
            device=device,
        )
    except UserError as error:
        explanations.remarks.append(f"No frames are shown, for the model cannot be had: {error}")
        return explanations
    wrong = confident_mistakes(predictions, NUM_VIDEOS)
    explanations.are_mistakes = bool(wrong)
    chosen = wrong or range(min(NUM_VIDEOS, len(predictions.paths)))
    deadline = None if max_seconds is None else time.monotonic() + max_seconds
    explanation = None
    for number, place in enumerate(chosen):
        if deadline is not None and time.monotonic() > deadline:
            explanations.remarks.append(
                f"{len(chosen) - number} videos are left out, as these took {max_seconds:g} s: "
                "tools/report.py shows all."
            )
            break
        progress(f"looking at video {number + 1} of {len(chosen)}: {predictions.paths[place]}")
        explanation = _add_strip(explanations, predictor, predictions, place) or explanation
    if explanation is not None:
        explanations.layers = layer_pictures(predictor, explanation)
    return explanations


def _add_strip(
    explanations: Explanations, predictor: Predictor, predictions: Predictions, place: int
) -> Explanation | None:
    """Adds the strip of one video, or the reason that there is none."""
    path = predictions.paths[place]
    try:
        explanation = explain_video(predictor, record_from_path(path))
    except (DecodeError, UserError) as error:
        explanations.remarks.append(str(error))
        return None
    captions = _captions(predictor, predictions, place, explanation)
    explanations.strips.append((path, draw_saliency_strip(explanation, *captions)))
    return explanation


def _captions(
    predictor: Predictor, predictions: Predictions, place: int, explanation: Explanation
) -> list[str]:
    label, best = (predictions.name(int(column[place])) for column in (predictions.labels, predictions.best))
    share = float(predictions.confidences[place])
    sure = f" ({100 * share:.1f} %)" if share == share else ""
    verdict = f"label {label}, taken for {best}{sure}" if label != best else f"{label}{sure}, right"
    return [
        verdict,
        f"below: what the answer {predictor.label_names[explanation.label]} depends on in this clip",
    ]


def _explanations_section(explanations: Explanations) -> str:
    strips = "".join(
        figure(Path(path).name, image(picture, f"frames of {path}", is_photo=True), kind="wide")
        for path, picture in explanations.strips
    )
    layers = "".join(
        figure(name, image(picture, f"maps of {name}", is_photo=False), kind="wide")
        for name, picture in explanations.layers
    )
    which = (
        "the most confident mistakes"
        if explanations.are_mistakes
        else "the first videos, as no mistake was made"
    )
    intro = (
        f"Frames of {which}, and below each how much the answer depends on every place "
        "(integrated gradients from a clip of one colour; yellow: most)."
    )
    num_layers = len({name for name, _ in explanations.layers})
    return section(
        "What the model looks at",
        *map(paragraph, explanations.remarks),
        paragraph(intro if strips else "", faint=True),
        stacked(strips),
        details(f"Token mixing and stages: {num_layers} layers", stacked(layers)),
    )


def write_page(path: Path, text: str) -> None:
    """Writes a page, whole or not at all. Raises UserError."""
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); name another with --out.") from error
