"""Text and files of a run besides its progress: the summary at the start, validation and test results."""

import csv
import io
import json
import logging
import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import torch
from tabulate import tabulate

from slowfast_mlp.atomic_file import write_file
from slowfast_mlp.engine.evaluate import Evaluation
from slowfast_mlp.log.run_log import RunLog, format_duration

PREDICTIONS = "predictions.csv"
FAILED_VIDEOS = "failed_videos.txt"
ENVIRONMENT = "environment.json"
PACKAGES_NAMED = ("torch", "torchvision", "av", "numpy")
NUM_BEST = 5
MAX_FAILURES_NAMED = 3

logger = logging.getLogger(__name__)


def format_facts(facts: dict[str, str]) -> str:
    """Names and facts in two columns."""
    return tabulate(facts.items(), tablefmt="plain", disable_numparse=True)


def describe_device(device: torch.device) -> str:
    """The device of a run as text."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else device.type


def write_environment(output_dir: str, facts: dict[str, str]) -> None:
    """Writes environment.json: start time, versions, and the facts of the summary."""
    written = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{package: version(package) for package in PACKAGES_NAMED},
        **facts,
    }
    path = os.path.join(output_dir, ENVIRONMENT)
    write_file(path, json.dumps(written, indent=1).encode())


def log_validation(log: RunLog, evaluation: Evaluation, *, epoch: int, num_epochs: int, step: int) -> None:
    """Logs a validation after epoch index `epoch` and `step` steps of the run."""
    rates = _accuracies(evaluation)
    for failure in evaluation.failures[:MAX_FAILURES_NAMED]:
        logger.warning("a video of the validation cannot be decoded: %s: %s", failure.path, failure.reason)
    rate_text = "  ".join(f"{name} {rate:.2f} %" for name, rate in rates.items())
    log.info(f"val    epoch {epoch + 1}/{num_epochs}  {rate_text}  {_decoded(evaluation)}")
    log.metrics("val", step=step, epoch=epoch + 1, **rates, **_counts(evaluation))
    log.json_stats(
        epoch_level=True,
        _type="val_epoch",
        epoch=f"{epoch + 1}/{num_epochs}",
        **{f"{name}_err": 100 - rate for name, rate in rates.items()},
    )


def log_test_progress(log: RunLog, log_period: int, done: int, total: int, seconds: float) -> None:
    """Logs the progress of a test every `log_period` batches of this rank."""
    if done % log_period == 0 or done == total:
        log.info(f"test   batch {done}/{total}  eta {format_duration(seconds / done * (total - done))}")


def log_test(
    log: RunLog,
    evaluation: Evaluation,
    *,
    paths: Sequence[str],
    views: str,
    tested: dict[str, Any],
    label_names: Sequence[str],
    config_name: str,
) -> None:
    """Logs a test and writes predictions.csv and, if videos failed, failed_videos.txt."""
    rates = _accuracies(evaluation)
    written = _write_test_files(log.output_dir, evaluation, paths, label_names)
    facts = {
        **{name.replace("top", "top-"): f"{rate:.2f} %" for name, rate in rates.items()},
        "protocol": views,
        "videos": _decoded(evaluation),
    }
    if evaluation.num_decoded < len(paths):
        facts["decoded"] = f"top-1 {evaluation.accuracy_of_decoded(1):.2f} % of the videos with a view"
    written += [os.path.join(log.output_dir, name) for name in ("stdout.log", "metrics.jsonl", config_name)]
    log.info("test results\n" + format_facts({**facts, "written": " ".join(written)}))
    log.metrics(
        "test",
        step=tested["epoch"] or 0,
        **tested,
        **rates,
        top1_of_decoded=evaluation.accuracy_of_decoded(1),
        views=views,
        **_counts(evaluation),
    )
    log.outcome({"test_top1": rates["top1"]}, step=tested["epoch"] or 0)
    in_percent = {f"{name}_acc": f"{rate:.2f}" for name, rate in rates.items()}
    log.json_stats(epoch_level=True, split="test_final", **in_percent)


def _write_test_files(
    output_dir: str, evaluation: Evaluation, paths: Sequence[str], label_names: Sequence[str]
) -> list[str]:
    """Writes predictions.csv and, if videos failed, failed_videos.txt; returns the paths of both."""
    predictions_path = os.path.join(output_dir, PREDICTIONS)
    failed_path = os.path.join(output_dir, FAILED_VIDEOS)
    write_predictions(predictions_path, evaluation, paths, label_names)
    if evaluation.failures:
        write_failures(failed_path, evaluation)
        return [predictions_path, failed_path]
    if os.path.exists(failed_path):
        os.remove(failed_path)  # of an earlier test
    return [predictions_path]


def write_predictions(
    path: str, evaluation: Evaluation, paths: Sequence[str], label_names: Sequence[str]
) -> None:
    """Writes a line per video: path, label, number of views, the best classes with their mean scores at full
    precision, the probability of the best class and, if the classes have names, the names of the label and of
    the best class.
    """
    num_best = min(NUM_BEST, evaluation.scores.shape[1])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ranks = range(1, num_best + 1)
    header = ["path", "label", "views"] + [f"{what}{n}" for n in ranks for what in ("class", "score")]
    header.append("probability1")
    writer.writerow(header + (["label_name", "class1_name"] if label_names else []))
    order = evaluation.scores.argsort(dim=1, descending=True, stable=True)[:, :num_best]
    best = evaluation.scores.gather(1, order)
    numbers = evaluation.labels, evaluation.num_views, order, best, evaluation.confidences()
    for video, label, num_views, classes, scores, share in zip(paths, *(part.tolist() for part in numbers)):
        pairs = [field for pair in zip(classes, map(repr, scores)) for field in pair] + [repr(share)]
        names = [label_names[label], label_names[classes[0]] if num_views else ""] if label_names else []
        writer.writerow([video, label, num_views, *(pairs if num_views else [""] * len(pairs)), *names])
    write_file(path, text.getvalue().encode())


def write_failures(path: str, evaluation: Evaluation) -> None:
    """Writes a line per video with missing views: path, number of missing views, reason; tab-separated."""
    lines = [f"{f.path}\t{f.num_views} views missing\t{f.reason}\n" for f in evaluation.failures]
    write_file(path, "".join(lines).encode())


def _decoded(evaluation: Evaluation) -> str:
    text, counts = f"{evaluation.num_decoded}/{len(evaluation.labels)} with a view", _counts(evaluation)
    partial, views = counts["num_partial"], counts["num_views_missing"]
    text += f", {partial} of them not with all" if partial else ""
    return text + (f", {views} views of {len(evaluation.failures)} videos missing" if views else "")


def _accuracies(evaluation: Evaluation) -> dict[str, float]:
    """top1, and for more than five classes top5: with fewer, every label is among the five best."""
    ranks = (1, 5) if evaluation.scores.shape[1] > 5 else (1,)
    return {f"top{k}": evaluation.accuracy(k) for k in ranks}


def _counts(evaluation: Evaluation) -> dict[str, int]:
    return {
        "num_videos": len(evaluation.labels),
        "num_decoded": evaluation.num_decoded,
        "num_partial": sum(bool(evaluation.num_views[f.video]) for f in evaluation.failures),
        "num_views_missing": sum(failure.num_views for failure in evaluation.failures),
    }
