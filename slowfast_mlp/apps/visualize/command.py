"""What tools/visualize.py does: pictures of what a model sees in videos, and of what a test got wrong."""

import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.nn import functional as F

from slowfast_mlp.apps.predict.command import output_files
from slowfast_mlp.apps.predict.inputs import display_path
from slowfast_mlp.apps.predict.predictor import Predictor
from slowfast_mlp.apps.report import sections
from slowfast_mlp.apps.report.html import heading, page
from slowfast_mlp.apps.report.write import write_page
from slowfast_mlp.apps.visualize import confusion
from slowfast_mlp.apps.visualize.explain import (
    Explanation,
    draw_saliency_strip,
    explain_video,
    layer_pictures,
)
from slowfast_mlp.apps.visualize.pictures import draw_matrix, overlay
from slowfast_mlp.apps.visualize.predictions import Predictions, read_predictions
from slowfast_mlp.data.annotations import read_label_names
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.frame_writer import FrameWriter
from slowfast_mlp.data.video_io.stream import Stream
from slowfast_mlp.errors import UserError

VIDEO_FPS = 4.0  # slow enough to look at every frame
VIDEO_SIDE = 256  # pixels of a frame, at least
NUM_MISTAKES = 100

logger = logging.getLogger(__name__)


def visualize_videos(
    predictor: Predictor,
    records: Sequence[Record | Stream],
    out: Path,
    *,
    label: str | None = None,
    baseline: str = "grey",
) -> list[tuple[str, str]]:
    """Writes for every video a strip of frames with their saliency (.png) and the same as a video (.mp4)
    into the folder `out`, and what the layers do in the first of them into out/layers.

    `label` is the name or number of the class to look for, by default the one that a clip is taken for.
    Returns path and reason of what could not be read. Raises UserError.
    """
    if any(isinstance(record, Stream) for record in records):
        raise UserError("A stream cannot be drawn: record it to a file, and give that.")
    if baseline == "still" and predictor.clip_format.shape[1] == 1:
        raise UserError("--baseline still shows what moves, and this model sees one frame: leave it out.")
    out.mkdir(parents=True, exist_ok=True)
    number = None if label is None else _label_number(predictor.label_names, label)
    failed, first = [], None
    files = zip(output_files(out, records, ".png"), output_files(out, records, ".mp4"))
    for record, (picture, video) in zip(records, files):
        try:
            explanation = explain_video(predictor, record, label=number, baseline=baseline)
        except DecodeError as error:
            failed.append((display_path(record), error.reason))
            continue
        first = first or explanation
        draw_saliency_strip(explanation, *_captions(predictor, record, explanation)).save(picture)
        _write_video(explanation, video)
        logger.info("%s and %s", picture, video.name)
    if first is not None:
        _write_layers(predictor, first, out / "layers")
    return failed


def _captions(predictor: Predictor, record: Record, explanation: Explanation) -> tuple[str, str]:
    names = predictor.label_names
    percent = 100 * explanation.probability
    taken = f"{Path(display_path(record)).name}: taken for {names[explanation.best]} ({percent:.1f} %)"
    return taken, f"below: what the answer {names[explanation.label]} depends on"


def _label_number(names: Sequence[str], label: str) -> int:
    """The class of that name or number. Raises UserError."""
    if label in names:
        return list(names).index(label)
    if label.isdecimal() and int(label) < len(names):
        return int(label)
    raise UserError(
        f"--label {label!r} is no class of the model: give a number from 0 to {len(names) - 1}, or a name "
        f"such as {names[0]!r}."
    )


def _write_video(explanation: Explanation, path: Path) -> None:
    """Frames next to their saliency."""
    pair = torch.cat(
        [explanation.frames, overlay(explanation.frames, explanation.saliency)], dim=2
    )  # T S 2S 3
    factor = -(-VIDEO_SIDE // pair.shape[1])
    large = F.interpolate(pair.permute(0, 3, 1, 2).float(), scale_factor=factor, mode="bilinear")
    with FrameWriter(str(path), fps=VIDEO_FPS) as writer:
        for number, pixels in enumerate(large.round().to(torch.uint8).permute(0, 2, 3, 1)):
            writer.add(pixels.contiguous(), number / VIDEO_FPS)


def _write_layers(predictor: Predictor, explanation: Explanation, folder: Path) -> None:
    pictures = layer_pictures(predictor, explanation)
    if not pictures:
        logger.info("no layer of this model has a picture of its own")
        return
    folder.mkdir(exist_ok=True)
    numbers: dict[str, int] = {}
    for layer, picture in pictures:
        numbers[layer] = numbers.get(layer, 0) + 1
        picture.save(folder / f"{layer.replace(' ', '_')}_{numbers[layer]}.png")
    logger.info("%d pictures of layers in %s", len(pictures), folder)


def visualize_predictions(path: str, out: Path, *, label_names: str | None = None) -> None:
    """Writes what a test got wrong, by its predictions.csv, into the folder `out`: test.html with all
    figures, confusion.png, and as tables classes.csv, pairs.csv and mistakes.csv. `label_names` is a file of
    the classes' names, a line each. Raises UserError.
    """
    predictions = read_predictions(path, label_names=read_label_names(label_names) if label_names else ())
    out.mkdir(parents=True, exist_ok=True)
    matrix = confusion.confusion_matrix(predictions)
    title = "What the test got wrong"
    write_page(out / "test.html", page(title, heading(title) + sections.test_results(predictions)))
    draw_matrix(matrix, predictions.label_names, "Confusion matrix").save(out / "confusion.png")
    _write_table(out / "classes.csv", "class name videos right percent", _class_rows(predictions))
    pairs = confusion.worst_pairs(matrix, len(matrix) ** 2)
    rows = ((predictions.name(p.label), predictions.name(p.predicted), p.count, p.share) for p in pairs)
    _write_table(out / "pairs.csv", "label taken_for videos share", rows)
    places = confusion.confident_mistakes(predictions, NUM_MISTAKES)
    _write_table(out / "mistakes.csv", "path label taken_for probability", _mistakes(predictions, places))
    logger.info("%s, with confusion.png and three tables next to it", out / "test.html")


def _class_rows(predictions: Predictions) -> Iterator[tuple[object, ...]]:
    for row in confusion.class_accuracies(predictions):
        yield row.label, predictions.name(row.label), row.num_videos, row.num_correct, row.percent


def _mistakes(predictions: Predictions, places: Sequence[int]) -> Iterator[tuple[object, ...]]:
    for place in places:
        label, best = int(predictions.labels[place]), int(predictions.best[place])
        share = float(predictions.confidences[place])
        yield predictions.paths[place], predictions.name(label), predictions.name(best), share


def _write_table(path: Path, header: str, rows: Iterator[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header.split())
        writer.writerows(rows)
