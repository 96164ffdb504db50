"""Reads metrics.jsonl and json_stats.log, and drops the lines that a resumed run writes again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import simplejson

from slowfast_mlp.atomic_file import write_file
from slowfast_mlp.errors import UserError

METRICS = "metrics.jsonl"
TRAINING_KINDS = ("train", "train_epoch", "val")


def keep_lines(path: str | Path, is_kept: Callable[[str], bool]) -> int:
    """Rewrites a text file with only the lines to keep; returns how many were dropped. Raises UserError."""
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    kept = [line for line in lines if is_kept(line)]
    if len(kept) < len(lines):
        write_file(path, "".join(kept).encode())
    return len(lines) - len(kept)


def is_up_to_step(line: str, *, step: int) -> bool:
    """Whether a line of metrics.jsonl is complete, and not of training beyond `step`."""
    try:
        record = simplejson.loads(line)
    except simplejson.JSONDecodeError:  # cut off when the run was killed
        return False
    return record["kind"] not in TRAINING_KINDS or record["step"] <= step


def is_up_to_epoch(line: str, *, epoch: int) -> bool:
    """Whether a line of json_stats.log is complete, and not of an epoch beyond the first `epoch`."""
    try:
        stats = simplejson.loads(line.removeprefix("json_stats: "))
    except simplejson.JSONDecodeError:
        return False
    return "epoch" not in stats or int(stats["epoch"].split("/")[0]) <= epoch


def validation_after(output_dir: str, epoch: int) -> float | None:
    """The top-1 of the validation after `epoch` epochs, if metrics.jsonl has it."""
    found = [record["top1"] for record in _records(output_dir, "val") if record["epoch"] == epoch]
    return found[-1] if found else None


def last_metrics(output_dir: str, kind: str) -> dict[str, Any]:
    """The newest line of `kind` ("train", "val", "test") in a run's metrics.jsonl. Raises UserError."""
    found = _records(output_dir, kind)
    if not found:
        path = Path(output_dir) / METRICS
        raise UserError(f"{path} has no line of the kind {kind!r}: the run did not come so far.")
    return found[-1]


def _records(output_dir: str, kind: str) -> list[dict[str, Any]]:
    path = Path(output_dir) / METRICS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [record for record in map(simplejson.loads, lines) if record["kind"] == kind]
