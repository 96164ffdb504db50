"""Kinetics-400, -600 and -700 from their official annotations: a list for each split, categories.txt."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from slowfast_mlp.apps.prepare_data.lists import (
    PrepareResult,
    check_folder,
    check_not_overwritten,
    index_videos,
    read_text,
)
from slowfast_mlp.apps.prepare_data.path_lists import CATEGORIES, write_path_lists
from slowfast_mlp.apps.prepare_data.transcode import TranscodeOptions
from slowfast_mlp.data.annotations import read_label_names
from slowfast_mlp.errors import UserError

COLUMNS = ("youtube_id", "time_start", "time_end", "split")
SPLITS = {"train": "train", "validate": "val", "validation": "val", "val": "val", "test": "test"}


class AnnotatedClip(NamedTuple):
    """One line of the annotations; the label is "" where it is secret."""

    names: tuple[str, ...]  # that its file may have, without ending, the most telling first
    label: str
    split: str


def prepare_kinetics(
    *,
    annotations: Sequence[Path],
    videos: Path,
    out: Path,
    label_order: Path | None,
    transcode_options: TranscodeOptions,
) -> PrepareResult:
    """Writes `path label` lists of the videos that are there, paths from the folder that the settings name.

    Ids are those of the labels in alphabetical order, or of the file `label_order`. Raises UserError.
    """
    check_folder(videos, "--videos")
    clips = [clip for path in annotations for clip in read_annotations(path)]
    ids = _label_ids(clips, label_order)
    sources = [*annotations, label_order] if label_order else annotations
    check_not_overwritten(sources, out, {CATEGORIES, *(f"{split}.csv" for split in SPLITS.values())})
    files, prepared = index_videos(videos), PrepareResult()
    found: list[tuple[AnnotatedClip, str]] = []
    for clip in clips:
        name = next((name for name in clip.names if name in files), None)
        if not clip.label:
            prepared.left_out.append(f"{clip.split} {clip.names[0]}: has no label")
        elif name is None:
            prepared.left_out.append(f"{clip.split} {clip.names[0]}: there is no file, {clip.label}")
        else:
            found.append((clip, _best_match(files[name], clip)))
    if not found:
        raise UserError(
            f"--videos {videos} has none of the {len(clips)} annotated videos, such as "
            f"{clips[0].names[0]}.mp4 or {clips[0].names[1]}.mp4."
        )
    by_split: dict[str, list[tuple[str, str]]] = {}
    for clip, path in found:
        by_split.setdefault(clip.split, []).append((path, clip.label))
    places = dict(videos=videos, out=out, transcode_options=transcode_options)
    write_path_lists(by_split, ids, **places, prepared=prepared, remarks=_shared_files(found))
    return prepared


def read_annotations(path: Path) -> list[AnnotatedClip]:
    """The lines of one official csv: label (in the test set of Kinetics-400 there is none), youtube_id,
    time_start, time_end, split. Raises UserError.
    """
    rows = csv.DictReader(io.StringIO(read_text(path)))
    absent = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if absent:
        raise UserError(
            f"{path} has no column {' and no '.join(absent)}: give the official csv, whose first line is "
            f"label,{','.join(COLUMNS)}."
        )
    clips = []
    for number, row in enumerate(rows, start=2):
        try:
            start, end = int(float(row["time_start"])), int(float(row["time_end"]))
            split = SPLITS[row["split"].strip()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}, line {number}: {dict(row)} has no times in seconds, or a split other than "
                f"{', '.join(SPLITS)}."
            ) from error
        video = row["youtube_id"].strip()
        clips.append(
            AnnotatedClip((f"{video}_{start:06d}_{end:06d}", video), (row.get("label") or "").strip(), split)
        )
    if not clips:
        raise UserError(f"{path} lists no video.")
    return clips


def _label_ids(clips: Sequence[AnnotatedClip], label_order: Path | None) -> dict[str, int]:
    names = sorted({clip.label for clip in clips} - {""})
    if not names:
        raise UserError("The annotations give no labels: give those of train and validate too.")
    if label_order is None:
        return {name: number for number, name in enumerate(names)}
    if not label_order.is_file():
        raise UserError(f"--label-order {label_order}: there is no such file.")
    ids = {name: number for number, name in enumerate(read_label_names(str(label_order)))}
    unknown = [name for name in names if name not in ids]
    if unknown:
        raise UserError(
            f"--label-order {label_order} lacks {len(unknown)} of the {len(names)} labels annotated, "
            f"such as {unknown[0]!r}."
        )
    return ids


def _best_match(paths: Sequence[str], clip: AnnotatedClip) -> str:
    """Of several files of one name, the one whose folders name the clip's split or label."""
    words = {
        clip.label,
        clip.label.replace(" ", "_"),
        *(word for word, split in SPLITS.items() if split == clip.split),
    }
    return max(paths, key=lambda path: len(words & set(Path(path).parts)))


def _shared_files(found: Sequence[tuple[AnnotatedClip, str]]) -> list[str]:
    """A warning where one file, named by its id alone, stands for several clips of a video."""
    shared = [path for path, count in Counter(path for _, path in found).items() if count > 1]
    if not shared:
        return []
    return [
        f"{len(shared)} files stand for several annotated clips of their video, such as {shared[0]}: "
        "names with the times, id_000012_000022.mp4, would tell them apart"
    ]
