"""ImageNet-1K's validation pictures, which come in one folder, as a folder for each class; or all in tars."""

import csv
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from slowfast_mlp.apps.prepare_data.lists import (
    PrepareResult,
    check_folder,
    read_text,
    write_lines,
    write_missing,
)
from slowfast_mlp.apps.prepare_data.tar_shards import ListFiles, single_file, write_shards
from slowfast_mlp.data.video_io.images import SUFFIXES, image_names
from slowfast_mlp.errors import UserError

CLASS = re.compile(r"n\d{8}")
LINKS = ("hard", "symbolic")


@dataclass(frozen=True, kw_only=True)
class ImageShards:
    """How pictures go into tars: `num_per_shard` each, by processes."""

    num_per_shard: int
    num_processes: int = 1
    timeout_sec: float = 600.0


def prepare_imagenet(
    *,
    val: Path,
    labels: Path,
    synsets: Path | None,
    train: Path | None,
    out: Path,
    link: str,
    shards: ImageShards | None,
) -> PrepareResult:
    """Links every picture of the folder `val` into out/val/<class>/, and out/train to the folder `train`;
    with `shards` copies the pictures of both into out/{train,val}/shard-*.tar.

    `labels` is LOC_val_solution.csv, a csv or text with a picture and its class on each line, or the devkit's
    ground truth, a number a line for the pictures in order; that needs `synsets`, the class of every number a
    line. Raises UserError.
    """
    prepared = PrepareResult()
    members = _labeled_pictures(val, labels, synsets, prepared)
    classes = {os.path.dirname(member) for member in members}
    if train:
        _check_classes(train, classes)
    if shards:
        prepared.messages += _copy_into_shards(members, train, out, shards)
    else:
        prepared.messages += _link_into_folders(members, train, out, link)
    write_lines(out / "classes.txt", sorted(classes))
    write_missing(out, prepared)
    prepared.settings = {
        "TRAIN.DATASET": "imagenet",
        "DATA.PATH_TO_DATA_DIR": out,
        "MODEL.NUM_CLASSES": len(classes),
        "DATA.NUM_FRAMES": 1,
        "TEST.NUM_ENSEMBLE_VIEWS": 1,
    }
    if not (out / "train").exists():  # which an earlier run may have written
        prepared.settings["TRAIN.ENABLE"] = False
    return prepared


def _labeled_pictures(
    val: Path, labels: Path, synsets: Path | None, prepared: PrepareResult
) -> dict[str, Path]:
    """The files of the pictures by <class>/<name>; `prepared` receives labels without a file."""
    check_folder(val, "--val")
    pictures = {Path(name).stem: val / name for name in image_names(os.listdir(val))}
    if not pictures:
        raise UserError(
            f"--val {val} has no picture ({', '.join(SUFFIXES)}): give the folder of all of them."
        )
    members: dict[str, Path] = {}
    for name, label in _read_labels(labels, synsets, list(pictures)):
        if name in pictures:
            members[f"{label}/{pictures[name].name}"] = pictures[name].absolute()
        else:
            prepared.left_out.append(f"val {name}: there is no file, {label}")
    if not members:
        raise UserError(
            f"{labels} names none of the pictures of --val {val}, such as {next(iter(pictures))}."
        )
    return members


def _read_labels(path: Path, synsets: Path | None, pictures: list[str]) -> Iterator[tuple[str, str]]:
    """Names of pictures, without ending, and their classes."""
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    if lines and all(line.strip().isdecimal() for line in lines):
        yield from _by_number(path, [int(line) for line in lines], synsets, pictures)
        return
    rows = csv.reader(lines) if "," in lines[0] else (line.split() for line in lines)
    for number, row in enumerate(rows, start=1):
        label = CLASS.match(row[1].strip()) if len(row) > 1 else None
        if label:
            yield os.path.splitext(os.path.basename(row[0].strip()))[0], label.group()
        elif number > 1:  # the first may be a heading
            raise UserError(f"{path}, line {number}: {row} is no picture and a class like n01440764.")


def _by_number(
    path: Path, numbers: list[int], synsets: Path | None, pictures: list[str]
) -> Iterator[tuple[str, str]]:
    if synsets is None:
        raise UserError(
            f"{path} has numbers (ILSVRC2012_ID), in another order than the classes' names: give --synsets "
            "FILE with the class of every number a line (the order of the devkit's meta.mat), or take "
            "LOC_val_solution.csv."
        )
    names = [line.split()[0] for line in read_text(synsets).splitlines() if line.strip()]
    if len(numbers) != len(pictures):
        raise UserError(
            f"{path} has {len(numbers)} numbers, but there are {len(pictures)} pictures to number."
        )
    wrong = [number for number in numbers if not 1 <= number <= len(names)]
    if wrong or not all(map(CLASS.fullmatch, names)):
        raise UserError(
            f"--synsets {synsets} has {len(names)} lines; number {(wrong or [1])[0]} has no class there."
        )
    for picture, number in zip(pictures, numbers):
        yield picture, names[number - 1]


def _link(picture: Path, target: Path, link: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if link == "symbolic":
            target.symlink_to(picture)
        else:
            target.hardlink_to(picture)
    except FileExistsError:
        if not target.exists() or not target.samefile(picture):
            raise UserError(
                f"{target} is there already, and is another file; choose another --out."
            ) from None
    except OSError as error:
        raise UserError(
            f"{target} cannot be linked to {picture} ({error.strerror}); the other --link may work."
        ) from error


def _check_classes(train: Path, classes: set[str]) -> None:
    check_folder(train, "--train")
    absent = sorted(classes - set(_class_folders(train)))
    if absent:
        raise UserError(f"--train {train} lacks {len(absent)} classes of val, such as {absent[0]}.")


def _class_folders(train: Path) -> list[str]:
    return sorted(path.name for path in train.iterdir() if CLASS.fullmatch(path.name) and path.is_dir())


def _link_into_folders(members: dict[str, Path], train: Path | None, out: Path, link: str) -> list[str]:
    """Links; returns what was done."""
    _check_no_other_layout(out, "shard-*.tar", "tar shards")
    for member, picture in members.items():
        _link(picture, out / "val" / member, link)
    messages = [_describe_counts(out / "val", members)]
    if train:
        target = out / "train"
        if not target.is_symlink():
            target.symlink_to(train.absolute(), target_is_directory=True)
        messages.append(f"{target}: {len(_class_folders(train))} classes, a link to {train}")
    return messages


def _copy_into_shards(
    members: dict[str, Path], train: Path | None, out: Path, shards: ImageShards
) -> list[str]:
    """Copies into tars, class by class; returns what was done."""
    _check_no_other_layout(out, "n*", "class folders")
    splits: dict[str, tuple[list[str], ListFiles]] = {
        "val": (sorted(members), partial(_image_file, files=members))
    }
    if train:
        names = [
            f"{name}/{picture}"
            for name in _class_folders(train)
            for picture in image_names(os.listdir(train / name))
        ]
        splits["train"] = names, partial(single_file, folder=train)
    for split, (names, list_files) in splits.items():
        write_shards(
            names,
            list_files=list_files,
            target=out / split,
            num_per_shard=shards.num_per_shard,
            num_processes=shards.num_processes,
            timeout_sec=shards.timeout_sec,
        )
    return [_describe_counts(out / split, names) for split, (names, _) in splits.items()]


def _check_no_other_layout(out: Path, pattern: str, what: str) -> None:
    """Refuses to write next to what an earlier run wrote in the other form: one of them would not be read."""
    found = [path for split in ("val", "train") for path in sorted((out / split).glob(pattern))]
    if found:
        raise UserError(f"{found[0]} is there: {what} of an earlier run; choose another --out.")


def _image_file(member: str, *, files: dict[str, Path]) -> list[tuple[str, Path]]:
    return [(member, files[member])]


def _describe_counts(place: Path, members: Collection[str]) -> str:
    classes = {os.path.dirname(member) for member in members}
    return f"{place}: {len(members)} pictures of {len(classes)} classes"
