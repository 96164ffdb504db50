"""Kinetics, and any dataset in its format: one list per split, with `path label` on every line."""

import os
from collections.abc import Iterator

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.data.annotations import find_file, is_whole_number, read_label_names, read_lines
from slowfast_mlp.data.records import Record, Records
from slowfast_mlp.errors import UserError

SAMPLING = "dense"
SIDES_ARE_CLASSES = False  # whether some classes differ by left and right only
ARE_PICTURES = False  # whether image recipes apply: antialiased resizing, crop before other augmentation
LABEL_NAMES = "categories.txt"
USUAL_SEPARATORS = (" ", ",", "\t", ";")


def read_records(
    root: str, split: str, *, prefix: str, separator: str, columns: int = 2, label_names: str | None = None
) -> Records:
    """Records of `root`/{train,val,test}.csv; without test.csv the test split is val.csv.

    The label follows the last `separator` of a line, so paths may contain it. Relative paths start from
    `prefix`, or from `root` without a prefix. With 3 `columns` a line is path, number of frames, label; the
    number is ignored. `label_names` is a file for `read_label_names`, relative to `root`; by default
    categories.txt, if it exists. Raises UserError.
    """
    if columns not in (2, 3):
        raise UserError(
            f"DATA.ARGS columns {columns}: a list has 2 (path, label) or 3 (path, frames, label)."
        )
    names = [f"{split}.csv", "val.csv"] if split == "test" else [f"{split}.csv"]
    path = find_file(root, names, "the folder of the lists, with `path label` on every line")
    records = parse_list(path, prefix=prefix or root, separator=separator, columns=columns)
    return Records(records, label_names=names_of_classes(root, label_names, LABEL_NAMES))


def names_of_classes(root: str, given: str | None, usual: str) -> tuple[str, ...]:
    """Class names from the file `given`, which must exist, or by default from `usual`, if it exists."""
    path = os.path.join(root, usual if given is None else given)
    if given is None and not g_pathmgr.isfile(path):
        return ()
    return read_label_names(path)


def parse_list(path: str, *, prefix: str, separator: str, columns: int = 2) -> Iterator[Record]:
    """Records of one list file; blank lines are skipped."""
    separator = "\t" if separator == "\\t" else separator  # as typed in a shell
    number = 0
    for number, line in read_lines(path):
        fields = line.rsplit(separator, columns - 1)
        if not _fits(line, separator, columns):
            what = "whole number" if columns == 2 else "number of frames and label"
            raise UserError(
                f"{path}, line {number}: {line!r} has no {what} behind the separator "
                f"{separator!r}.{_hint(line, separator, columns)}"
            )
        yield Record(os.path.join(prefix, fields[0].strip()), int(fields[-1]))
    if number == 0:
        raise UserError(f"{path} is empty: it needs a line `path label` for every video.")


def _hint(line: str, separator: str, columns: int) -> str:
    """A hint: the setting with which a line could be parsed, or the expected format."""
    if columns == 3 and _fits(line, separator, 2):
        return " It is `path label`: set DATA.ARGS.columns 2, or write `path frames label`."
    for other in USUAL_SEPARATORS:
        if _fits(line, other, columns):
            return f" Set DATA.PATH_LABEL_SEPARATOR to {other!r}."
    return " Write `path label`." if columns == 2 else " Write `path frames label`."


def _fits(line: str, separator: str, columns: int) -> bool:
    fields = line.rsplit(separator, columns - 1)
    return len(fields) == columns and all(is_whole_number(field.strip()) for field in fields[1:])
