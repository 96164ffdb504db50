"""The predictions.csv of a test, read back."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slowfast_mlp.errors import UserError

NO_CLASS = -1  # what a video without a view was taken for


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a test said of V videos: labels and best classes [V] int64, the latter NO_CLASS where a video gave
    no view; `confidences` [V] float64, the probability of the best class, NaN where it is not known.

    `num_classes` is the number that the model has, or as far as the file tells.
    """

    paths: tuple[str, ...]
    labels: Tensor
    best: Tensor
    confidences: Tensor
    num_classes: int
    label_names: tuple[str, ...]

    @property
    def has_views(self) -> Tensor:
        """[V] bool: which videos gave a view."""
        return self.best != NO_CLASS

    def name(self, label: int) -> str:
        """The name of a class, or its number where none is known."""
        return self.label_names[label]


def read_predictions(
    path: str, *, num_classes: int | None = None, label_names: Sequence[str] = ()
) -> Predictions:
    """The predictions of a file; names that `label_names` does not give are those in it, if it has any.

    Raises UserError where the file cannot be read, or is none of a test's.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}); give the predictions.csv of a test.") from error
    if not rows:
        raise UserError(f"{path} names no video; give the predictions.csv of a test.")
    try:
        labels = [int(row["label"]) for row in rows]
        best = [int(row["class1"]) if row["class1"] else NO_CLASS for row in rows]
        confidences = [_number(row.get("probability1")) for row in rows]
        paths = tuple(row["path"] for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it has no column {error.args[0]}" if isinstance(error, KeyError) else error
        raise UserError(
            f"{path} is not the predictions.csv of a test ({reason}); its columns are "
            f"{', '.join(map(str, rows[0]))}."
        ) from error
    least = max(labels + best) + 1
    if num_classes is not None and num_classes < least:
        raise UserError(f"{path} has a class {least - 1}, and the model has {num_classes} classes.")
    num_classes = num_classes or max(least, len(label_names))
    return Predictions(
        paths=paths,
        labels=torch.tensor(labels),
        best=torch.tensor(best),
        confidences=torch.tensor(confidences, dtype=torch.float64),
        num_classes=num_classes,
        label_names=_names(rows, num_classes, label_names),
    )


def _names(rows: Sequence[dict[str, str]], num_classes: int, given: Sequence[str]) -> tuple[str, ...]:
    """The names of all classes: those given, else those in the rows, else numbers."""
    found = dict(enumerate(given))
    for row in rows:
        for number, name in (("label", "label_name"), ("class1", "class1_name")):
            if row.get(name) and row[number]:
                found.setdefault(int(row[number]), row[name])
    return tuple(found.get(label, f"class {label}") for label in range(num_classes))


def _number(text: str | None) -> float:
    return float(text) if text else math.nan
