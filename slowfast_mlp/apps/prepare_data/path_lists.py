"""Lists of `path label`, as Kinetics has them, of what was found and what was done to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from slowfast_mlp.apps.prepare_data.lists import (
    PrepareResult,
    settings_without_lists,
    write_lines,
    write_missing,
)
from slowfast_mlp.apps.prepare_data.transcode import TranscodeOptions, transcode

CATEGORIES = "categories.txt"  # names and ids of the classes


def write_path_lists(
    found: Mapping[str, Sequence[tuple[str, str]]],
    ids: Mapping[str, int],
    *,
    videos: Path,
    out: Path,
    transcode_options: TranscodeOptions,
    prepared: PrepareResult,
    remarks: Sequence[str] = (),
) -> None:
    """Treats the videos of `found`, split -> (path from `videos`, class), and writes OUT/split.csv for every
    split of which any is left, and categories.txt; tells of it in `prepared`, and the settings of a run.
    """
    paths = [path for split in found.values() for path, _ in split]
    transcoded = transcode(paths, source=videos, out=out, transcode_options=transcode_options)
    prepared.left_out += [f"{path}: {reason}" for path, reason in transcoded.failures.items()]
    written = set()
    for split, pairs in found.items():
        names = transcoded.new_names
        lines = [f"{names[path]} {ids[label]}" for path, label in pairs if path in names]
        if lines:
            written.add(split)
            write_lines(out / f"{split}.csv", lines)
            prepared.messages.append(f"{out / split}.csv: {len(lines)} videos")
    write_lines(out / CATEGORIES, [f"{name}\t{number}" for name, number in ids.items()])
    prepared.messages += [f"{out / CATEGORIES}: {len(ids)} classes", *remarks]
    write_missing(out, prepared)
    prepared.settings = {
        "TRAIN.DATASET": "kinetics",
        "DATA.PATH_TO_DATA_DIR": out,
        "DATA.PATH_PREFIX": transcoded.folder,
        "MODEL.NUM_CLASSES": len(ids),
        **settings_without_lists(written),
    }
