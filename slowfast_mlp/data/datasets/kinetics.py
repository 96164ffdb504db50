"""Kinetics, and any data set in its format: a list a split, `path label` on every line."""

import os

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.data.video import Record
from slowfast_mlp.errors import UserError

USUAL_SEPARATORS = (" ", ",", "\t", ";")


def read_records(root: str, split: str, *, prefix: str, separator: str) -> list[Record]:
    """Records of `root`/{train,val,test}.csv; without test.csv the test split is val.csv, as people copy it.

    The label stands behind the last `separator` of a line, so paths may hold it too. A relative path starts
    from `prefix`, or from `root` where there is none; an absolute one stays as it is. Raises UserError.
    """
    return parse_list(list_path(root, split), prefix=prefix or root, separator=separator)


def list_path(root: str, split: str) -> str:
    """The list file of a split."""
    if not root:
        raise UserError(f"DATA.PATH_TO_DATA_DIR is not set: give the folder that holds {split}.csv.")
    names = [f"{split}.csv", "val.csv"] if split == "test" else [f"{split}.csv"]
    for name in names:
        path = os.path.join(root, name)
        if g_pathmgr.isfile(path):
            return path
    raise UserError(
        f"DATA.PATH_TO_DATA_DIR {root!r} has no {' and no '.join(names)}: give the folder of the lists, "
        "with `path label` on every line."
    )


def parse_list(path: str, *, prefix: str, separator: str) -> list[Record]:
    """Records of one list file; blank lines are passed over."""
    try:
        with g_pathmgr.open(path, "r", encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8 ({error.reason}); save it as UTF-8.") from error
    separator = "\t" if separator == "\\t" else separator  # as a shell hands it over
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        fields = line.strip().rsplit(separator, 1)
        if len(fields) != 2 or not _is_int(fields[1]):
            raise UserError(
                f"{path}, line {number}: {line.strip()!r} has no whole number behind the separator "
                f"{separator!r}.{_other_separator(line)}"
            )
        records.append(Record(os.path.join(prefix, fields[0].strip()), int(fields[1])))
    if not records:
        raise UserError(f"{path} is empty: it needs a line `path label` for every video.")
    return records


def _is_int(text: str) -> bool:
    return text.strip().removeprefix("-").isdecimal()


def _other_separator(line: str) -> str:
    for separator in USUAL_SEPARATORS:
        fields = line.strip().rsplit(separator, 1)
        if len(fields) == 2 and _is_int(fields[1]):
            return f" Set DATA.PATH_LABEL_SEPARATOR to {separator!r}."
    return " Write `path label`."
