"""ImageNet-1K's validation pictures, which come in one folder, as a folder for each class."""

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from slowfast_mlp.corpus.lists import Prepared, demand_folder, read_text, write_lines, write_missing
from slowfast_mlp.data.pictures import SUFFIXES, is_picture
from slowfast_mlp.errors import UserError

CLASS = re.compile(r"n\d{8}")
LINKS = ("hard", "symbolic")


def prepare_imagenet(
    *, val: Path, labels: Path, synsets: Path | None, train: Path | None, out: Path, link: str
) -> Prepared:
    """Links every picture of the folder `val` into out/val/<class>/, and out/train to the folder `train`.

    `labels` is LOC_val_solution.csv, a csv or text with a picture and its class on each line, or the devkit's
    ground truth, a number a line for the pictures in order; that needs `synsets`, the class of every number a
    line. Nothing is moved or copied. Raises UserError.
    """
    demand_folder(val, "--val")
    pictures = {path.stem: path for path in sorted(val.iterdir()) if is_picture(path.name)}
    if not pictures:
        raise UserError(
            f"--val {val} has no picture ({', '.join(SUFFIXES)}): give the folder of all of them."
        )
    prepared, num_linked, classes = Prepared(), 0, set()
    for name, label in _read_labels(labels, synsets, list(pictures)):
        if name not in pictures:
            prepared.left_out.append(f"val {name}: there is no file, {label}")
            continue
        _link(pictures[name].absolute(), out / "val" / label / pictures[name].name, link)
        num_linked += 1
        classes.add(label)
    if not num_linked:
        raise UserError(
            f"{labels} names none of the pictures of --val {val}, such as {next(iter(pictures))}."
        )
    prepared.said.append(f"{out / 'val'}: {num_linked} pictures of {len(classes)} classes")
    if train:
        prepared.said.append(_link_train(train, out / "train", classes))
    write_lines(out / "classes.txt", sorted(classes))
    write_missing(out, prepared)
    prepared.settings = {
        "TRAIN.DATASET": "imagenet",
        "DATA.PATH_TO_DATA_DIR": out,
        "MODEL.NUM_CLASSES": len(classes),
        "DATA.NUM_FRAMES": 1,
    }
    return prepared


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


def _link_train(train: Path, target: Path, classes: set[str]) -> str:
    demand_folder(train, "--train")
    found = {path.name for path in train.iterdir() if CLASS.fullmatch(path.name)}
    if not classes <= found:
        absent = sorted(classes - found)
        raise UserError(f"--train {train} lacks {len(absent)} classes of val, such as {absent[0]}.")
    if not target.is_symlink():
        target.symlink_to(train.absolute(), target_is_directory=True)
    return f"{target}: {len(found)} classes, a link to {train}"
