"""Tables of published figures: what was tested how, and what it gave."""

import csv
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from slowfast_mlp.errors import UserError, nearest_name

PAPERS = Path(__file__).with_name("papers.csv")
SYNTHETIC = Path(__file__).with_name("synthetic.csv")
FIGURES = ("top1", "top5", "gflops", "params")
NAME = re.compile(r"[\w+-][\w.+-]*(/[\w+-][\w.+-]*)*")
COLUMNS = ("name", "config", "overrides", "checkpoint", *FIGURES, "source", "note")


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """A figure of a table: the config and the KEY VALUE overrides that test it as it was published.

    `top1` and `top5` in percent, `gflops` (1e9 multiply-adds) over all views, `params` in millions; None is
    what was not published. `config` and `checkpoint` are paths; no checkpoint is "".
    """

    name: str
    config: str
    overrides: tuple[str, ...] = ()
    checkpoint: str = ""
    top1: float | None = None
    top5: float | None = None
    gflops: float | None = None
    params: float | None = None
    source: str = ""
    note: str = ""


def read_table(path: Path, *, folder: Path) -> list[PublishedRow]:
    """The rows of a CSV file with COLUMNS, of which name and config must be there; relative paths start from
    `folder`. Raises UserError that names file and line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"The table {path} cannot be read: {error}.") from error
    columns = reader.fieldnames or ()
    for column in columns:
        if column not in COLUMNS:
            raise UserError(
                f"{path}: unknown column {column!r}; there are {', '.join(COLUMNS)}."
                f"{nearest_name(str(column), list(COLUMNS))}"
            )
    for column in ("name", "config"):
        if column not in columns:
            raise UserError(f"{path} has no column {column!r}; write {', '.join(COLUMNS)} in its first line.")
    rows = [_row(line, f"{path}, line {number}", folder) for number, line in enumerate(lines, start=2)]
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: {names.count(name)} rows are called {name!r}; give each its own name.")
    return rows


def _row(line: dict[str, str | None], where: str, folder: Path) -> PublishedRow:
    if None in line or None in line.values():
        raise UserError(f"{where}: as many fields are needed as the first line has; quote those with commas.")
    cells = {column: text.strip() for column, text in line.items()}
    if not cells["name"] or not cells["config"]:
        raise UserError(f"{where}: every row needs a name and a config.")
    if not NAME.fullmatch(cells["name"]):  # it becomes a folder
        raise UserError(f"{where}: name {cells['name']!r}: use letters, digits, _ . + - and / between.")
    try:
        overrides = tuple(shlex.split(cells.get("overrides", "")))
    except ValueError as error:
        raise UserError(f"{where}: overrides {cells['overrides']!r}: {error}.") from error
    if len(overrides) % 2:
        raise UserError(f"{where}: overrides {cells['overrides']!r} are not KEY VALUE pairs.")
    checkpoint = cells.get("checkpoint", "")
    return PublishedRow(
        name=cells["name"],
        config=str(folder / cells["config"]),
        overrides=overrides,
        checkpoint=str(folder / checkpoint) if checkpoint else "",
        **{figure: _number(cells.get(figure, ""), figure, where) for figure in FIGURES},
        source=cells.get("source", ""),
        note=cells.get("note", ""),
    )


def _number(text: str, figure: str, where: str) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        number = -1.0
    if number is not None and not 0 <= number < float("inf"):
        raise UserError(f"{where}: {figure} {text!r}: give a number, or nothing where none is published.")
    return number


def match_rows(rows: Sequence[PublishedRow], pattern: str, *, flag: str) -> list[PublishedRow]:
    """The rows whose name is `pattern`, or fits it with * and ?. Raises UserError, which names `flag`, where
    there is none.
    """
    found = [row for row in rows if fnmatchcase(row.name, pattern)]
    if not found:
        names = [row.name for row in rows]
        raise UserError(
            f"{flag} {pattern!r}: no row of the table is called so.{nearest_name(pattern, names)} There are "
            f"{', '.join(names)}."
        )
    return found
