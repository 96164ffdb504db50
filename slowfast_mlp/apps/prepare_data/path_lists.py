"""Lists of `path label`, as Kinetics has them, of what was found and what was done to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from slowfast_mlp.apps.prepare_data.lists import Prepared, settings_without_lists, write_lines, write_missing
from slowfast_mlp.apps.prepare_data.transcode import Treatment, treat

CATEGORIES = "categories.txt"  # names and ids of the classes


def write_path_lists(
    found: Mapping[str, Sequence[tuple[str, str]]],
    ids: Mapping[str, int],
    *,
    videos: Path,
    out: Path,
    treatment: Treatment,
    prepared: Prepared,
    remarks: Sequence[str] = (),
) -> None:
    """Treats the videos of `found`, split -> (path from `videos`, class), and writes OUT/split.csv for every
    split of which any is left, and categories.txt; tells of it in `prepared`, and the settings of a run.
    """
    paths = [path for split in found.values() for path, _ in split]
    treated = treat(paths, source=videos, out=out, treatment=treatment)
    prepared.left_out += [f"{path}: {reason}" for path, reason in treated.failures.items()]
    written = set()
    for split, pairs in found.items():
        names = treated.new_names
        lines = [f"{names[path]} {ids[label]}" for path, label in pairs if path in names]
        if lines:
            written.add(split)
            write_lines(out / f"{split}.csv", lines)
            prepared.said.append(f"{out / split}.csv: {len(lines)} videos")
    write_lines(out / CATEGORIES, [f"{name}\t{number}" for name, number in ids.items()])
    prepared.said += [f"{out / CATEGORIES}: {len(ids)} classes", *remarks]
    write_missing(out, prepared)
    prepared.settings = {
        "TRAIN.DATASET": "kinetics",
        "DATA.PATH_TO_DATA_DIR": out,
        "DATA.PATH_PREFIX": treated.folder,
        "MODEL.NUM_CLASSES": len(ids),
        **settings_without_lists(written),
    }
