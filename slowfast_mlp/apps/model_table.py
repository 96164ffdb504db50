"""One table of all variants: what they cost here, and what was published, side by side."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from slowfast_mlp.apps.reproduce import table as published
from slowfast_mlp.builders import model
from slowfast_mlp.config.schema import Model
from slowfast_mlp.engine.flops import count_activations, count_flops, count_parameters

CROP_SIZE = 224
RECONSTRUCTED = "architecture reconstructed; not the authors' code"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant as a table of a paper has it: settings, views (clips, crops), and the name of its row among
    the published ones, on the data set that `source` names ("": none).
    """

    name: str
    variant: str
    num_classes: int
    num_frames: int = 1
    views: tuple[int, int] = (1, 1)
    arguments: dict[str, Any] = field(default_factory=dict)
    published: str = ""
    source: str = ""


_k400 = partial(Row, name="morphmlp", num_classes=400, views=(4, 1), source="MorphMLP, K400")
_ssv2 = partial(Row, name="morphmlp", num_classes=174, views=(1, 3), source="MorphMLP, SSv2")
_image = partial(Row, name="morphmlp", num_classes=1000, source="MorphMLP, ImageNet-1K")
_posmlp = partial(Row, name="posmlp", num_classes=1000, source="PosMLP's README, ImageNet-1K")
_pos_video = partial(Row, name="posmlp_video", num_classes=174, views=(1, 3), source="no table found")
_vast = partial(Row, name="vast", num_classes=400, views=(4, 1), source=RECONSTRUCTED)
_ast = partial(Row, name="vast", num_classes=1000, source=RECONSTRUCTED)
_mobile = partial(Row, name="mobile_former", num_classes=1000, source="Mobile-Former, ImageNet-1K")
_mobile_video = partial(Row, name="mobile_former", num_classes=400, source=RECONSTRUCTED)

ROWS = (
    *(
        _k400(variant=variant, num_frames=frames, published=f"Kinetics/MORPHMLP_{variant}_{frames}x4")
        for variant in ("S", "B")
        for frames in (16, 32)
    ),
    *(
        _ssv2(variant=variant, num_frames=frames, published=f"SSv2/MORPHMLP_{variant}_{frames}")
        for variant in ("S", "B")
        for frames in (16, 32)
    ),
    *(_image(variant=variant, published=f"ImageNet/MORPHMLP_{variant}") for variant in ("T", "S", "B", "L")),
    *(_pos_video(variant=variant, num_frames=16) for variant in ("S", "S96", "B", "B96")),
    *(_pos_video(variant="S", num_frames=num_frames) for num_frames in (8, 32)),
    *(_posmlp(variant=variant, published=f"ImageNet/POSMLP_{variant}") for variant in ("T", "S", "B")),
    *(
        _posmlp(variant=variant, arguments={"encoding": "learned"}, source="no table")
        for variant in ("T", "S", "B")
    ),
    *(_vast(variant=variant, num_frames=8) for variant in ("Ti", "S", "B")),
    *(_ast(variant=variant) for variant in ("Ti", "S", "B")),
    *(
        _mobile(variant=variant, published=f"ImageNet/MOBILE_FORMER_{variant}")
        for variant in ("508M", "294M", "214M", "151M", "96M", "52M", "26M")
    ),
    *(
        _mobile_video(variant=variant, num_frames=8)
        for variant in ("52M", "96M", "151M", "214M", "294M", "508M")
    ),
    _mobile_video(variant="508M", num_frames=12),
    _mobile_video(variant="294M", num_frames=16),
)
COLUMNS = (
    "model",
    "frames",
    "classes",
    "params M",
    "published",
    "differs %",
    "GFLOPs a view",
    "published",
    "differs %",
    "views",
    "GFLOPs over views",
    "activations M",
    "published top-1",
    "source",
)


def table(name: str | None = None) -> Iterator[list[str]]:
    """The cells of every row, in the order of COLUMNS, of one backbone's file or of all.

    Builds and runs every model once for FLOPs and once for activations, on the CPU. Raises RuntimeError for
    an operator that cannot be counted.
    """
    papers = published_rows()
    for row in ROWS:
        if name in (None, row.name):
            yield _cells(row, papers.get(row.published))


def published_rows() -> dict[str, published.PublishedRow]:
    """The published figures by the names of their rows."""
    return {row.name: row for row in published.read_table(published.PAPERS, folder=Path())}


def _cells(row: Row, paper: published.PublishedRow | None) -> list[str]:
    section = Model(name=row.name, variant=row.variant, num_classes=row.num_classes, args=row.arguments)
    torch.manual_seed(0)
    net = model.model(section, num_frames=row.num_frames, crop_size=CROP_SIZE, test_crop_size=CROP_SIZE)
    clip_shape = (3, row.num_frames, CROP_SIZE, CROP_SIZE)
    params, flops = count_parameters(net) / 1e6, count_flops(net, clip_shape) / 1e9
    clips, crops = row.views
    gflops_of_view = paper.gflops / (clips * crops) if paper and paper.gflops else None
    title = f"{row.name} {row.variant}" + "".join(f" {value}" for value in row.arguments.values())
    return [
        title,
        str(row.num_frames),
        str(row.num_classes),
        f"{params:.2f}",
        *_against(params, paper and paper.params),
        f"{flops:.4g}",
        *_against(flops, gflops_of_view),
        f"{clips}x{crops}",
        f"{flops * clips * crops:.4g}",
        f"{count_activations(net, clip_shape) / 1e6:.1f}",
        f"{paper.top1}" if paper else "-",
        row.source,
    ]


def _against(ours: float, published: float | None) -> tuple[str, str]:
    if published is None:
        return "-", "-"
    return f"{published:g}", f"{100 * (ours / published - 1):+.1f}"


def as_text(rows: list[list[str]]) -> str:
    """Columns padded to their widest cell."""
    lines = [list(COLUMNS), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )


def as_markdown(rows: list[list[str]]) -> str:
    """A table of GitHub's markdown."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_csv(rows: list[list[str]]) -> str:
    """Comma-separated, with a head."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([list(COLUMNS), *rows])
    return text.getvalue().rstrip("\n")


FORMATS = {"text": as_text, "markdown": as_markdown, "csv": as_csv}
