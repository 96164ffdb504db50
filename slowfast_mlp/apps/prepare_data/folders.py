"""Your own videos, in a folder for every class: a list for each split, categories.txt."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from slowfast_mlp.apps.prepare_data.lists import Prepared, demand_folder
from slowfast_mlp.apps.prepare_data.path_lists import write_path_lists
from slowfast_mlp.apps.prepare_data.transcode import Treatment
from slowfast_mlp.data.annotations import VIDEO_SUFFIXES
from slowfast_mlp.errors import UserError

# Folders of these names at the top are splits that somebody made already.
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
Found = dict[str, dict[str, list[str]]]  # split -> class -> paths from the folder of the videos


def prepare_folders(*, videos: Path, out: Path, val_share: float, treatment: Treatment) -> Prepared:
    """Writes `path label` lists of `videos`/CLASS/..., or of `videos`/train/CLASS/... and .../val/CLASS/...

    Ids are those of the classes in alphabetical order. Without splits of its own, `val_share` of every class,
    one video at least, goes to val.csv: those whose names have the lowest hashes, so that videos which join
    later move hardly any to the other side. Raises UserError.
    """
    demand_folder(videos, "--videos")
    prepared = Prepared()
    found = _found(videos, val_share, prepared)
    ids = {
        name: number
        for number, name in enumerate(sorted({name for split in found.values() for name in split}))
    }
    by_split = {
        split: [(path, name) for name, paths in sorted(classes.items()) for path in paths]
        for split, classes in found.items()
    }
    write_path_lists(by_split, ids, videos=videos, out=out, treatment=treatment, prepared=prepared)
    return prepared


def _found(videos: Path, val_share: float, prepared: Prepared) -> Found:
    """The videos by split and class; what lies outside of a class's folder is left out and said."""
    tops = sorted(path.name for path in videos.iterdir() if path.is_dir() and not path.name.startswith("."))
    splits = [name for name in tops if name.lower() in SPLIT_FOLDERS]
    if splits and len(splits) != len(tops):
        others = [name for name in tops if name not in splits]
        raise UserError(
            f"--videos {videos} has folders of splits ({', '.join(splits)}) beside others, such as "
            f"{others[0]}: give a folder with either splits or classes in it."
        )
    if splits:
        found: Found = {}
        for name in splits:
            classes = _classes(videos, name, prepared)
            for label, paths in classes.items():
                found.setdefault(SPLIT_FOLDERS[name.lower()], {}).setdefault(label, []).extend(paths)
        if "train" not in found:
            raise UserError(f"--videos {videos} has {', '.join(splits)} and no train: it needs train.")
        _demand_known(videos, found)
    else:
        found = _split(_classes(videos, "", prepared), val_share)
    if len(found["train"]) < 2:
        raise UserError(
            f"--videos {videos} has videos of {len(found['train'])} classes; give a folder for each of two "
            f"or more, with videos in them ({', '.join(VIDEO_SUFFIXES)})."
        )
    return found


def _demand_known(videos: Path, found: Found) -> None:
    for split, classes in found.items():
        unknown = sorted(set(classes) - set(found["train"]))
        if unknown:
            raise UserError(
                f"--videos {videos}: {split} has classes that train lacks, such as {unknown[0]!r}. Spell "
                "their names alike."
            )


def _classes(videos: Path, split: str, prepared: Prepared) -> dict[str, list[str]]:
    """Class -> its videos, however deep, sorted; paths from the folder of the videos."""
    classes: dict[str, list[str]] = {}
    for entry in sorted((videos / split).iterdir()):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            if entry.suffix.lower() in VIDEO_SUFFIXES:
                prepared.left_out.append(f"{entry.relative_to(videos)}: is in no class's folder")
            continue
        paths = sorted(_videos_under(entry, videos))
        if paths:
            classes[entry.name] = paths
        else:
            prepared.left_out.append(f"{entry.relative_to(videos)}: has no video")
    return classes


def _videos_under(folder: Path, root: Path) -> Sequence[str]:
    return [
        os.path.relpath(os.path.join(place, name), root)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith(".")
    ]


def _split(classes: dict[str, list[str]], val_share: float) -> Found:
    found: Found = {"train": {}, "val": {}}
    for name, paths in classes.items():
        if len(paths) < 2:
            raise UserError(
                f"The class {name!r} has a single video: one for training and one for val are needed."
            )
        by_hash = sorted(paths, key=lambda path: hashlib.sha256(path.encode()).digest())
        num_val = min(len(paths) - 1, max(1, round(val_share * len(paths))))
        found["val"][name] = sorted(by_hash[:num_val])
        found["train"][name] = sorted(by_hash[num_val:])
    return found
