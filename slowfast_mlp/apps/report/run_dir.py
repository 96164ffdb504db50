"""What a run left in its OUTPUT_DIR, read back."""

import json
import math
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slowfast_mlp.apps.visualize.charts import Curve
from slowfast_mlp.apps.visualize.predictions import Predictions, read_predictions
from slowfast_mlp.config.diff import settings_of
from slowfast_mlp.engine.results import ENVIRONMENT, FAILED_VIDEOS, PREDICTIONS
from slowfast_mlp.errors import UserError
from slowfast_mlp.log.decode_failures import FAILED_TRAIN_VIDEOS

CONFIGS = ("config.yaml", "test_config.yaml")  # of a training, of a test alone


@dataclass(frozen=True, kw_only=True)
class RunDir:
    """The files of a run, as far as there are any: lines of metrics.jsonl, the settings by their outside
    keys, the predictions of its test, the videos that failed (kind, path, how often, reason), its
    environment. `remarks` say what could not be read.
    """

    path: Path
    name: str
    metrics: tuple[dict[str, Any], ...]
    config_path: Path | None
    settings: dict[str, Any]
    predictions: Predictions | None
    failed: tuple[tuple[str, ...], ...]
    environment: dict[str, str]
    remarks: tuple[str, ...]

    def lines_of(self, kind: str) -> list[dict[str, Any]]:
        """Those of metrics.jsonl of a kind: train, train_epoch, val, test."""
        return [line for line in self.metrics if line.get("kind") == kind]

    def newest(self, kind: str) -> dict[str, Any]:
        """The newest line of a kind; empty where there is none."""
        lines = self.lines_of(kind)
        return lines[-1] if lines else {}

    def curve(self, kind: str, value: str, *, name: str, factor: float = 1.0) -> Curve:
        """A value of all lines of a kind over epochs, times `factor`."""
        epoch_at = self._epoch_at()
        return Curve(
            name=name,
            points=[
                (epoch_at(line), None if line[value] is None else factor * line[value])
                for line in self.lines_of(kind)
                if value in line
            ],
        )

    def _epoch_at(self):
        """A function from a line of training to its epoch and fraction: between the steps at which epochs
        ended, and on as fast as in the last one. A line of an epoch that nothing is known of ends it.
        """
        ends = [(0, 0.0)] + [(line["step"], float(line["epoch"])) for line in self.lines_of("train_epoch")]
        steps = [step for step, _ in ends]

        def epoch_at(line: dict[str, Any]) -> float:
            if line["kind"] != "train":
                return float(line["epoch"])
            if len(ends) < 2:
                last = max(
                    other["step"] for other in self.lines_of("train") if other["epoch"] == line["epoch"]
                )
                return line["epoch"] - 1 + line["step"] / last if line["epoch"] == 1 else float(line["epoch"])
            place = min(max(1, bisect_right(steps, line["step"] - 1)), len(ends) - 1)
            (step0, epoch0), (step1, epoch1) = ends[place - 1], ends[place]
            return epoch0 + (line["step"] - step0) * (epoch1 - epoch0) / max(1, step1 - step0)

        return epoch_at


def read_run(output_dir: str) -> RunDir:
    """Reads OUTPUT_DIR. Raises UserError where it holds nothing of a run."""
    folder = Path(output_dir)
    remarks: list[str] = []
    metrics = _metrics(folder / "metrics.jsonl", remarks)
    config_path = _newest([folder / name for name in CONFIGS])
    if not metrics and config_path is None:
        raise UserError(
            f"{output_dir} holds no run: neither metrics.jsonl with a line nor config.yaml. Give the "
            "OUTPUT_DIR of a run."
        )
    settings = _settings(config_path, remarks)
    return RunDir(
        path=folder,
        name=folder.resolve().name,
        metrics=metrics,
        config_path=config_path,
        settings=settings,
        predictions=_predictions(folder / PREDICTIONS, settings.get("MODEL.NUM_CLASSES"), remarks),
        failed=(
            *_failed(folder / FAILED_VIDEOS, "test"),
            *_failed(folder / FAILED_TRAIN_VIDEOS, "training"),
        ),
        environment=_environment(folder / ENVIRONMENT, remarks),
        remarks=tuple(remarks),
    )


def _metrics(path: Path, remarks: list[str]) -> tuple[dict[str, Any], ...]:
    if not path.is_file():
        remarks.append("There is no metrics.jsonl: the run wrote no curves.")
        return ()
    lines, num_broken = [], 0
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            lines.append({**line, "step": int(line["step"]), "kind": line["kind"]})
        except (ValueError, KeyError, TypeError):  # cut off by a kill
            num_broken += 1
    if num_broken:
        remarks.append(f"{num_broken} lines of metrics.jsonl are broken and left out.")
    return tuple(lines)


def _settings(path: Path | None, remarks: list[str]) -> dict[str, Any]:
    try:
        return settings_of(str(path)) if path else {}
    except UserError as error:
        remarks.append(f"The settings cannot be read: {error}")
        return {}


def _predictions(path: Path, num_classes: int | None, remarks: list[str]) -> Predictions | None:
    if not path.is_file():
        return None
    try:
        return read_predictions(str(path), num_classes=num_classes)
    except UserError as error:
        remarks.append(str(error))
        return None


def _failed(path: Path, kind: str) -> tuple[tuple[str, ...], ...]:
    if not path.is_file():
        return ()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return tuple((kind, *(line.split("\t", 2) + ["", ""])[:3]) for line in lines)


def _environment(path: Path, remarks: list[str]) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        return {key: str(value) for key, value in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError) as error:
        remarks.append(f"{path.name} cannot be read ({error}).")
        return {}


def _newest(paths: list[Path]) -> Path | None:
    """The file that was written last, of those that there are."""
    return max(
        (path for path in paths if path.is_file()), key=lambda path: path.stat().st_mtime, default=None
    )


def percent(value: float | None) -> str:
    """12.34 %, or a dash where it is not known."""
    return "\u2013" if value is None or not math.isfinite(value) else f"{value:.2f} %"
