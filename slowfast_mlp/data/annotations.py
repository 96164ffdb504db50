"""Reads the text files of datasets: lists and label names. Errors name the line."""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.errors import UserError

MAX_DIGITS = 100  # int() refuses more than 4,300
# Suffixes of video files. decord and PyAV were compared frame by frame on all of them.
VIDEO_SUFFIXES = (".webm", ".mp4", ".mkv", ".avi", ".mov", ".m4v")


def read_lines(path: str) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, stripped line) of every line that is not blank. Raises UserError."""
    try:
        with g_pathmgr.open(path, "r", encoding="utf-8-sig") as file:
            lines = enumerate(map(str.strip, file), start=1)
            yield from ((number, line) for number, line in lines if line)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8 ({error.reason}); save it as UTF-8.") from error


def is_whole_number(text: str) -> bool:
    """Whether a field is a whole number, possibly negative, of a length that int() accepts."""
    return text.removeprefix("-").isdecimal() and len(text) <= MAX_DIGITS


def read_json(path: str, kind: type) -> Any:
    """The contents of a JSON file, which must be of type `kind`. Raises UserError."""
    try:
        with g_pathmgr.open(path, "r", encoding="utf-8-sig") as file:
            contents = json.load(file)
    except ValueError as error:
        raise UserError(f"{path} is no JSON file ({error}); fetch it again.") from error
    if not isinstance(contents, kind):
        raise UserError(f"{path} holds a {type(contents).__name__}, not a {kind.__name__}: another file?")
    return contents


def find_file(root: str, names: Sequence[str], what: str) -> str:
    """The path of the first of `names` that exists in `root`. Raises UserError, which asks for `what`."""
    if not root:
        raise UserError(f"DATA.PATH_TO_DATA_DIR is not set: give the folder that holds {names[0]}.")
    for name in names:
        path = os.path.join(root, name)
        if g_pathmgr.isfile(path):
            return path
    raise UserError(f"DATA.PATH_TO_DATA_DIR {root!r} has no {' and no '.join(names)}: give {what}.")


def read_label_names(path: str) -> tuple[str, ...]:
    """Class names in the order of their ids, from 0.

    The file has one name per line in that order, or a name and its id per line, tab-separated, in either
    order. Raises UserError.
    """
    if not g_pathmgr.isfile(path):
        raise UserError(f"There is no file of label names {path!r}; set DATA.ARGS label_names.")
    lines = list(read_lines(path))
    if not any("\t" in line for _, line in lines):
        names = [line for _, line in lines]
    else:
        names = _names_by_id(path, lines)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{path} gives the name {twice!r} to two classes; every class needs its own.")
    if not names:
        raise UserError(f"{path} is empty: it needs a line for every class.")
    return tuple(names)


def _names_by_id(path: str, lines: list[tuple[int, str]]) -> list[str]:
    rows = [(number, [field.strip() for field in line.split("\t")]) for number, line in lines]
    for number, fields in rows:
        if len(fields) != 2 or sum(field.isdecimal() for field in fields) != 1:
            raise UserError(
                f"{path}, line {number}: {' <tab> '.join(fields)!r} is no name and id with a tab between."
            )
    pairs = [(int(a), b) if a.isdecimal() else (int(b), a) for _, (a, b) in rows]
    ids = sorted(number for number, _ in pairs)
    if ids != list(range(len(ids))):
        raise UserError(f"{path}: its ids are not 0 to {len(ids) - 1}, each once.")
    return [name for _, name in sorted(pairs)]
