"""What a benchmark says: tables for people, JSON for machines, and what it ran on."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch

from slowfast_mlp.apps.timing import Summary


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under columns, cells as text or numbers, with a line that says what they mean."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int]]


@dataclass(kw_only=True)
class BenchmarkReport:
    """The tables of a section, lines that say what was left out and why, and the machine."""

    section: str
    tables: list[Table] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)


def describe_machine(device: torch.device) -> dict[str, str]:
    """Kind of processor and device, their number, versions; no name of the machine."""
    described = {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "torch": version("torch"),
        "python": platform.python_version(),
        "system": platform.system(),
    }
    if device.type == "cuda":
        described["device"] = torch.cuda.get_device_name(device)
    else:
        described["device"] = f"{device.type}, {torch.get_num_threads()} thread"
    return described


def load_average() -> str:
    """Processes that wanted a core in the last 1, 5 and 15 minutes."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def format_number(value: float) -> str:
    """Three figures that matter."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread_cells(figures: Summary, *, decimals: int = 0) -> tuple[str, str]:
    """Cells of a table next to a median: quartiles, and the spread in percent, marked where it is noisy."""
    noisy = " noisy" if figures.is_noisy else ""
    return (
        f"{format_number(figures.p25)}-{format_number(figures.p75)}",
        f"{figures.spread:.{decimals}f}{noisy}",
    )


def as_markdown(report: BenchmarkReport) -> str:
    """Tables of GitHub's markdown, which also line up in a terminal."""
    parts = ["; ".join(f"{name} {value}" for name, value in report.machine.items())]
    for table in report.tables:
        rows = [list(map(str, table.columns)), *([_cell(cell) for cell in row] for row in table.rows)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
        rows.insert(1, ["-" * width for width in widths])
        lines = [
            f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths))} |".rstrip()
            for row in rows
        ]
        parts.append("\n".join([f"{table.title}", "", *lines, "", table.note]))
    parts += report.remarks
    return "\n\n".join(parts)


def write_json(report: BenchmarkReport, path: Path) -> None:
    """The whole report, numbers as measured."""
    path.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")


def _cell(cell: str | float | int) -> str:
    return format_number(cell) if isinstance(cell, float) else str(cell)


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        names = [line.partition(":")[2] for line in path.read_text().splitlines() if "model name" in line]
        if names:
            return names[0].strip()
    return platform.processor() or platform.machine()
