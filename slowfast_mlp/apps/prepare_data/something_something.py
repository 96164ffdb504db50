"""Something-Something V1 and V2 from their official annotations: the forks' lists of frame folders, or the
JSONs of the videos that are there.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from slowfast_mlp.apps.prepare_data.lists import (
    PrepareResult,
    check_folder,
    check_not_overwritten,
    find_annotation,
    index_videos,
    read_text,
    write_lines,
    write_missing,
)
from slowfast_mlp.apps.prepare_data.path_lists import CATEGORIES
from slowfast_mlp.apps.prepare_data.tar_shards import SHARDS, check_no_shards, write_shards
from slowfast_mlp.apps.prepare_data.transcode import TranscodeOptions, transcode
from slowfast_mlp.apps.progress_bar import ProgressBar
from slowfast_mlp.apps.worker_pool import JobFailure, run_jobs
from slowfast_mlp.data.datasets.ssv2 import read_entries, read_label_ids
from slowfast_mlp.errors import UserError

SPLITS = {"train": "train", "validation": "val"}  # official name -> ours
OFFICIAL_V1, OFFICIAL_V2 = "something-something-v1-", "something-something-v2-"
CATEGORIES_NAME = "category.txt"
VideoEntries = Sequence[tuple[dict[str, Any], int, str]]  # entries of a JSON, with label and file
TEMPLATES = {1: "{:05d}.jpg", 2: "{:06d}.jpg"}  # what the readers take without being told


@dataclass(frozen=True, kw_only=True)
class FrameFolders:
    """The frame folders in `folder`, how their pictures are called, and how many go into a tar; 0 leaves them
    where they are.
    """

    folder: Path
    template: str
    first_frame: int
    folders_per_shard: int = 0
    num_processes: int = 1
    timeout_sec: float = 600.0

    def names(self, num_frames: int) -> list[str]:
        """The names of the pictures of a folder of so many frames."""
        return [self.template.format(self.first_frame + number) for number in range(num_frames)]


def prepare_ssv1(*, annotations: Path, frames: FrameFolders, out: Path) -> PrepareResult:
    """Writes somesomev1_rgb_{train,validation}_split.txt, `folder frames label`, and category.txt.

    Ids are those of the labels in alphabetical order, as everybody's. Raises UserError.
    """
    labels = find_annotation(annotations, [f"{OFFICIAL_V1}labels.csv", "labels.csv"])
    names = (line.strip() for line in read_text(labels).splitlines())
    ids = {name: number for number, name in enumerate(sorted(filter(None, names)))}
    videos = {}
    for split in SPLITS:
        path = find_annotation(annotations, [f"{OFFICIAL_V1}{split}.csv", f"{split}.csv"])
        videos[split] = _read_v1(path, ids)
    return _write_frame_lists(videos, list(ids), version=1, frames=frames, out=out)


def prepare_ssv2_frames(*, annotations: Path, frames: FrameFolders, out: Path) -> PrepareResult:
    """As prepare_ssv1, for frames extracted from V2, with the ids of its JSON of labels. Raises UserError."""
    names, entries = _read_v2(annotations)
    videos = {
        split: [(str(entry["id"]), label) for entry, label in listed] for split, listed in entries.items()
    }
    return _write_frame_lists(videos, names, version=2, frames=frames, out=out)


def prepare_ssv2(
    *, annotations: Path, videos: Path, out: Path, transcode_options: TranscodeOptions
) -> PrepareResult:
    """Writes the JSONs of the videos that are there, with the official names; for videos in shards, lists in
    the format of Kinetics. Raises UserError.
    """
    check_folder(videos, "--videos")
    names, entries = _read_v2(annotations)
    if not transcode_options.videos_per_shard:
        jsons = [f"{OFFICIAL_V2}{part}.json" for part in (*SPLITS, "labels")]
        check_not_overwritten([annotations / name for name in jsons], out, jsons)
    files = _files_by_id(videos)
    prepared, present = PrepareResult(), {}
    for split, listed in entries.items():
        ids = [str(entry["id"]) for entry, _ in listed]
        present[split] = [(*pair, files[name]) for name, pair in zip(ids, listed) if name in files]
        prepared.left_out += [f"{split} {name}: there is no file" for name in ids if name not in files]
    paths = [path for listed in present.values() for _, _, path in listed]
    if not paths:
        raise UserError(
            f"--videos {videos} has none of the annotated videos; they are called like 74225.webm."
        )
    transcoded = transcode(paths, source=videos, out=out, transcode_options=transcode_options)
    prepared.left_out += [f"{path}: {reason}" for path, reason in transcoded.failures.items()]
    write = _write_kinetics_lists if transcode_options.videos_per_shard else _write_jsons
    for split, listed in present.items():
        names_there = transcoded.new_names
        kept = [(*pair, names_there[path]) for *pair, path in listed if path in names_there]
        prepared.messages.append(f"{write(out, split, kept, names)}: {len(kept)} videos")
    write_missing(out, prepared)
    prepared.settings = {
        "TRAIN.DATASET": "ssv2",
        "DATA.PATH_TO_DATA_DIR": out,
        "DATA.PATH_PREFIX": transcoded.folder,
        "MODEL.NUM_CLASSES": len(names),
        "DATA.RANDOM_FLIP": False,  # as all recipes have it
    }
    if transcode_options.videos_per_shard:  # what ssv2 implies has to be said to kinetics
        prepared.settings |= {"TRAIN.DATASET": "kinetics", "DATA.SAMPLING": "segments"}
    return prepared


def _files_by_id(videos: Path) -> dict[str, str]:
    """Video files by their id. Those in folders below are left out: readers join folder, id and ending."""
    return {
        stem: path
        for stem, found in index_videos(videos).items()
        for path in reversed(found)  # of two the first
        if os.path.basename(path) == path
    }


def _write_jsons(out: Path, split: str, kept: VideoEntries, names: Sequence[str]) -> Path:
    path, labels = (
        out / f"{OFFICIAL_V2}{split}.json",
        {name: str(number) for number, name in enumerate(names)},
    )
    write_lines(path, [json.dumps([entry for entry, _, _ in kept], ensure_ascii=False)])
    write_lines(out / f"{OFFICIAL_V2}labels.json", [json.dumps(labels, ensure_ascii=False)])
    return path


def _write_kinetics_lists(out: Path, split: str, kept: VideoEntries, names: Sequence[str]) -> Path:
    path = out / f"{SPLITS[split]}.csv"
    write_lines(path, [f"{name} {label}" for _, label, name in kept])
    write_lines(out / CATEGORIES, [f"{name}\t{number}" for number, name in enumerate(names)])
    return path


def count_frames(folder: str, *, template: str, first_frame: int) -> int | str:
    """The number of pictures in a folder, numbered from `first_frame` without a gap; else what is wrong."""
    ending = os.path.splitext(template)[1]
    try:
        names = {name for name in os.listdir(folder) if name.endswith(ending)}
    except FileNotFoundError:
        return "there is no folder"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    count = 0
    while template.format(first_frame + count) in names:
        count += 1
    if count == len(names) and count:
        return count
    others = f", but {min(names)} to {max(names)}" if names else ""
    return f"has no {template.format(first_frame + count)}{others}"


def _pack_folders(counts: dict[str, int], frames: FrameFolders, out: Path) -> tuple[Path, dict[str, str]]:
    """Writes the folders into shards, if asked for; returns where they are, and their names there."""
    if not frames.folders_per_shard:
        check_no_shards(out / SHARDS)
        return frames.folder, {folder: folder for folder in counts}
    names = write_shards(
        counts,
        list_files=partial(_image_files, frames=frames, counts=counts),
        target=out / SHARDS,
        num_per_shard=frames.folders_per_shard,
        num_processes=frames.num_processes,
        timeout_sec=frames.timeout_sec,
    )
    return out / SHARDS, names


def _write_frame_lists(
    videos: dict[str, list[tuple[str, int]]],
    names: Sequence[str],
    *,
    version: int,
    frames: FrameFolders,
    out: Path,
) -> PrepareResult:
    """`videos`: split -> (folder, label)."""
    check_folder(frames.folder, "--frames")
    prepared = PrepareResult()
    folders = list(dict.fromkeys(folder for listed in videos.values() for folder, _ in listed))
    counts, wrong = _count_all_frames(folders, frames)
    place, new_names = _pack_folders(counts, frames, out)
    for split, listed in videos.items():
        path = out / f"somesomev{version}_rgb_{split}_split.txt"
        kept = [(folder, label) for folder, label in listed if folder in counts]
        write_lines(path, [f"{new_names[folder]} {counts[folder]} {label}" for folder, label in kept])
        prepared.messages.append(f"{path}: {len(kept)} videos")
        prepared.left_out += [f"{split} {folder}: {wrong[folder]}" for folder, _ in listed if folder in wrong]
    write_lines(out / CATEGORIES_NAME, names)
    prepared.messages.append(f"{out / CATEGORIES_NAME}: {len(names)} classes")
    write_missing(out, prepared)
    prepared.settings = {
        "TRAIN.DATASET": f"ssv{version}",
        "DATA.PATH_TO_DATA_DIR": out,
        "DATA.PATH_PREFIX": place,
        "MODEL.NUM_CLASSES": len(names),
        "DATA.RANDOM_FLIP": False,
    }
    if (frames.template, frames.first_frame) != (TEMPLATES[version], 1):
        prepared.settings["DATA.ARGS"] = (
            f'{{template: "{frames.template}", first_frame: {frames.first_frame}}}'
        )
    return prepared


def _count_all_frames(folders: Sequence[str], frames: FrameFolders) -> tuple[dict[str, int], dict[str, str]]:
    """The number of frames of every folder that has all, in the order given; what is wrong with others."""
    progress, found = ProgressBar("folders counted", len(folders)), {}
    count = partial(count_frames, template=frames.template, first_frame=frames.first_frame)
    paths = [str(frames.folder / folder) for folder in folders]
    processes = {"num_processes": frames.num_processes, "timeout_sec": frames.timeout_sec}
    for position, result in run_jobs(count, paths, **processes):
        found[folders[position]] = result.reason if isinstance(result, JobFailure) else result
        progress.add(failed=not isinstance(result, int))
    counts = {folder: found[folder] for folder in folders if isinstance(found[folder], int)}
    if not counts:
        raise UserError(
            f"--frames {frames.folder} has none of the {len(folders)} folders with all their frames; the "
            f"first, {folders[0]}, {found[folders[0]]}. Set --image-template and --first-frame to the names "
            "there are."
        )
    return counts, {folder: found[folder] for folder in folders if folder not in counts}


def _image_files(folder: str, *, frames: FrameFolders, counts: dict[str, int]) -> list[tuple[str, Path]]:
    """The pictures of a folder, each with its name in a tar."""
    return [(f"{folder}/{name}", frames.folder / folder / name) for name in frames.names(counts[folder])]


def _read_v1(path: Path, ids: dict[str, int]) -> list[tuple[str, int]]:
    """Folders and labels of lines `id;label`."""
    videos = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        folder, _, name = line.partition(";")
        if name.strip() not in ids:
            raise UserError(
                f"{path}, line {number}: {line!r} is no `id;label` with one of the {len(ids)} labels."
            )
        videos.append((folder.strip(), ids[name.strip()]))
    if not videos:
        raise UserError(f"{path} lists no video.")
    return videos


def _read_v2(annotations: Path) -> tuple[list[str], dict[str, list[tuple[dict[str, Any], int]]]]:
    """Names of the classes by id, and every split's entries with their labels, from the official JSONs."""
    found = find_annotation(annotations, [f"{OFFICIAL_V2}labels.json", "labels.json"])
    names = list(read_label_ids(str(found)))
    entries = {}
    for split in SPLITS:
        path = str(find_annotation(annotations, [f"{OFFICIAL_V2}{split}.json", f"{split}.json"]))
        entries[split] = read_entries(path, names)
    return names, entries
