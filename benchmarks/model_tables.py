"""Tables and history rows of the section `model`."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import Tensor

from slowfast_mlp.apps import timing
from slowfast_mlp.benchmarks.model_passes import (
    BenchModel,
    PassCounts,
)
from slowfast_mlp.benchmarks.roofline import Roofline
from slowfast_mlp.benchmarks.tables import (
    describe_machine,
    spread_cells,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A backbone with what it is measured on; `bench_models[0]` is the baseline."""

    name: str
    variant: str
    clips: Tensor
    labels: Tensor
    bench_models: Sequence[BenchModel]
    # Row -> precision -> the difference of its logits, taken before any training moves batch statistics.
    differences: dict[str, dict[str, float]]


def _row(
    name: str,
    seconds: list[float],
    base: list[float],
    counts: PassCounts,
    batch: int,
    flops: float,
    roofline: Roofline,
    difference: float | None,
) -> tuple:
    ms = timing.summarize([1000 * value for value in seconds])
    per_clip = None if counts.bytes_moved is None else counts.bytes_moved / batch
    return (
        name,
        ms.median,
        *spread_cells(ms),
        1000 / ms.median,
        timing.speedup(seconds, base).median,
        ms.median / 1000 / (flops / roofline.flops_per_sec),
        _dash_if_none(per_clip and ms.median / 1000 / (per_clip / roofline.bytes_per_sec)),
        _dash_if_none(counts.kernels),
        _dash_if_none(counts.permute_copies),
        _dash_if_none(per_clip and per_clip / 1e9),
        _dash_if_none(counts.saved_bytes and counts.saved_bytes / batch / 2**20),
        _dash_if_none(counts.peak_bytes and counts.peak_bytes / 2**20),
        "-" if difference is None else f"{difference:.1e}",
    )


def _dash_if_none(value: float | int | None) -> float | int | str:
    return "-" if value is None else value


def _history_row(
    case: Case,
    mode: str,
    kind: str,
    name: str,
    row: tuple,
    counts: PassCounts,
    batch: int,
    device: torch.device,
) -> dict:
    """A line of the history, of the same figures."""
    machine = describe_machine(device)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"),
        "package": version("slowfast_mlp"),
        "torch": version("torch"),
        "machine": machine["device"] if device.type == "cuda" else machine["processor"],
        "model": case.name,
        "variant": case.variant,
        "batch": batch,
        "precision": mode,
        "pass": kind,
        "row": name,
        "ms_per_clip": f"{row[1]:.4g}",
        "spread_percent": row[3].removesuffix(" noisy"),
        "times_reference": f"{row[5]:.4g}",
        "kernels": counts.kernels,
        "bytes_per_clip": None if counts.bytes_moved is None else counts.bytes_moved // batch,
        "permute_copies": counts.permute_copies,
        "saved_bytes_per_clip": None if counts.saved_bytes is None else counts.saved_bytes // batch,
        "peak_bytes": counts.peak_bytes,
    }
