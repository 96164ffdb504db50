"""Figures of earlier measurements, a line each, to see what a change did."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from slowfast_mlp.errors import UserError

FIELDS = (
    "date",
    "package",
    "torch",
    "machine",
    "model",
    "variant",
    "batch",
    "precision",
    "pass",
    "row",
    "ms_per_clip",
    "spread_percent",
    "times_reference",
    "kernels",
    "bytes_per_clip",
    "permute_copies",
    "saved_bytes_per_clip",
    "peak_bytes",
)


def append(path: Path, lines: Iterable[Mapping[str, object]]) -> None:
    """Adds lines under the header FIELDS, which a new file gets. Raises UserError for a file of other
    columns, and ValueError for a figure that is none of FIELDS.
    """
    is_new = not path.exists() or not path.stat().st_size
    if not is_new:
        with path.open(newline="", encoding="utf-8") as file:
            columns = tuple(next(csv.reader(file)))
        if columns != FIELDS:
            raise UserError(f"--history {path}: its columns are not {', '.join(FIELDS)}; name another file.")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, restval="")
        if is_new:
            writer.writeheader()
        writer.writerows(lines)
