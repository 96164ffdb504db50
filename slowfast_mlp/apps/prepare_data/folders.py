"""Your own videos, in a folder for every class: a list for each split, categories.txt."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from slowfast_mlp.apps.prepare_data.lists import PrepareResult, check_folder
from slowfast_mlp.apps.prepare_data.path_lists import write_path_lists
from slowfast_mlp.apps.prepare_data.transcode import TranscodeOptions
from slowfast_mlp.data.annotations import VIDEO_SUFFIXES
from slowfast_mlp.errors import UserError

# Folders of these names at the top are splits that somebody made already.
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
VideosBySplit = dict[str, dict[str, list[str]]]  # split -> class -> paths from the folder of the videos


def prepare_folders(
    *, videos: Path, out: Path, val_share: float, transcode_options: TranscodeOptions
) -> PrepareResult:
    """Writes `path label` lists of `videos`/CLASS/..., or of `videos`/train/CLASS/... and .../val/CLASS/...

    Ids are those of the classes in alphabetical order. Without splits of its own, `val_share` of every class,
    one video at least, goes to val.csv: those whose names have the lowest hashes, so that videos which join
    later move hardly any to the other side. Raises UserError.
    """
    check_folder(videos, "--videos")
    prepared = PrepareResult()
    found = _find_videos(videos, val_share, prepared)
    ids = {
        name: number
        for number, name in enumerate(sorted({name for split in found.values() for name in split}))
    }
    by_split = {
        split: [(path, name) for name, paths in sorted(classes.items()) for path in paths]
        for split, classes in found.items()
    }
    write_path_lists(
        by_split, ids, videos=videos, out=out, transcode_options=transcode_options, prepared=prepared
    )
    return prepared


def _find_videos(videos: Path, val_share: float, prepared: PrepareResult) -> VideosBySplit:
    """The videos by split and class; what lies outside of a class's folder is left out and said."""
    tops = sorted(path.name for path in videos.iterdir() if path.is_dir() and not path.name.startswith("."))
    splits = [name for name in tops if name.lower() in SPLIT_FOLDERS]
    if splits and len(splits) != len(tops):
        others = [name for name in tops if name not in splits]
        raise UserError(
            f"--videos {videos} has folders of splits ({', '.join(splits)}) next to others, such as "
            f"{others[0]}: give a folder with either splits or classes in it."
        )
    if splits:
        found: VideosBySplit = {}
        for name in splits:
            classes = _find_classes(videos, name, prepared)
            for label, paths in classes.items():
                found.setdefault(SPLIT_FOLDERS[name.lower()], {}).setdefault(label, []).extend(paths)
        if "train" not in found:
            raise UserError(f"--videos {videos} has {', '.join(splits)} and no train: it needs train.")
        _check_known_classes(videos, found)
    else:
        found = _split_off_val(_find_classes(videos, "", prepared), val_share)
    if len(found["train"]) < 2:
        raise UserError(
            f"--videos {videos} has videos of {len(found['train'])} classes; give a folder for each of two "
            f"or more, with videos in them ({', '.join(VIDEO_SUFFIXES)})."
        )
    return found


def _check_known_classes(videos: Path, found: VideosBySplit) -> None:
    for split, classes in found.items():
        unknown = sorted(set(classes) - set(found["train"]))
        if unknown:
            raise UserError(
                f"--videos {videos}: {split} has classes that train lacks, such as {unknown[0]!r}. Spell "
                "their names alike."
            )


def _find_classes(videos: Path, split: str, prepared: PrepareResult) -> dict[str, list[str]]:
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


def _split_off_val(classes: dict[str, list[str]], val_share: float) -> VideosBySplit:
    found: VideosBySplit = {"train": {}, "val": {}}
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
