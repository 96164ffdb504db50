"""One table of all variants: what they cost here, and what was published, side by side."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from slowfast_mlp.build import backbone
from slowfast_mlp.config.schema import Model
from slowfast_mlp.engine.profile import count_activations, count_flops, count_parameters

CROP_SIZE = 224
RECONSTRUCTED = "architecture reconstructed; not the authors' code"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A variant as a table of a paper has it: settings, views (clips, crops), published figures (None: none).

    `published_params` in millions, `published_gflops` (1e9 multiply-adds) of one view, `published_top1` in
    percent on the data set that `source` names.
    """

    name: str
    variant: str
    num_classes: int
    num_frames: int = 1
    views: tuple[int, int] = (1, 1)
    arguments: dict[str, Any] = field(default_factory=dict)
    published_params: float | None = None
    published_gflops: float | None = None
    published_top1: float | None = None
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
    _k400(variant="S", num_frames=16, published_gflops=67, published_top1=78.7),
    _k400(variant="S", num_frames=32, published_gflops=133, published_top1=79.7),
    _k400(variant="B", num_frames=16, published_gflops=98, published_top1=79.5),
    _k400(variant="B", num_frames=32, published_gflops=197, published_top1=80.8),
    _ssv2(variant="S", num_frames=16, published_gflops=67, published_top1=67.1),
    _ssv2(variant="S", num_frames=32, published_gflops=135, published_top1=68.3),
    _ssv2(variant="B", num_frames=16, published_gflops=98, published_top1=67.6),
    _ssv2(variant="B", num_frames=32, published_gflops=197, published_top1=70.1),
    _image(variant="T", published_params=23, published_gflops=3.9, published_top1=81.6),
    _image(variant="S", published_params=38, published_gflops=7.0, published_top1=82.6),
    _image(variant="B", published_params=58, published_gflops=10.2, published_top1=83.2),
    _image(variant="L", published_params=76, published_gflops=12.5, published_top1=83.4),
    *(_pos_video(variant=variant, num_frames=16) for variant in ("S", "S96", "B", "B96")),
    *(_pos_video(variant="S", num_frames=num_frames) for num_frames in (8, 32)),
    _posmlp(variant="T", published_params=21, published_top1=82.1),
    _posmlp(variant="S", published_params=37, published_top1=83.0),
    _posmlp(variant="B", published_params=82, published_top1=83.6),
    *(
        _posmlp(variant=variant, arguments={"encoding": "learned"}, source="no table")
        for variant in ("T", "S", "B")
    ),
    *(_vast(variant=variant, num_frames=8) for variant in ("Ti", "S", "B")),
    *(_ast(variant=variant) for variant in ("Ti", "S", "B")),
    _mobile(variant="508M", published_params=14.0, published_gflops=0.508, published_top1=79.3),
    _mobile(variant="294M", published_params=11.4, published_gflops=0.294, published_top1=77.9),
    _mobile(variant="214M", published_params=9.4, published_gflops=0.214, published_top1=76.7),
    _mobile(variant="151M", published_params=7.6, published_gflops=0.151, published_top1=75.2),
    _mobile(variant="96M", published_params=4.6, published_gflops=0.096, published_top1=72.8),
    _mobile(variant="52M", published_params=3.5, published_gflops=0.052, published_top1=68.7),
    _mobile(variant="26M", published_params=3.2, published_gflops=0.026, published_top1=64.0),
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
    for row in ROWS:
        if name in (None, row.name):
            yield _cells(row)


def _cells(row: Row) -> list[str]:
    section = Model(name=row.name, variant=row.variant, num_classes=row.num_classes, args=row.arguments)
    torch.manual_seed(0)
    net = backbone.model(section, num_frames=row.num_frames, crop_size=CROP_SIZE, test_crop_size=CROP_SIZE)
    clip_shape = (3, row.num_frames, CROP_SIZE, CROP_SIZE)
    params, flops = count_parameters(net) / 1e6, count_flops(net, clip_shape) / 1e9
    clips, crops = row.views
    title = f"{row.name} {row.variant}" + "".join(f" {value}" for value in row.arguments.values())
    return [
        title, str(row.num_frames), str(row.num_classes),
        f"{params:.2f}", *_against(params, row.published_params),
        f"{flops:.4g}", *_against(flops, row.published_gflops),
        f"{clips}x{crops}", f"{flops * clips * crops:.4g}", f"{count_activations(net, clip_shape) / 1e6:.1f}",
        "-" if row.published_top1 is None else f"{row.published_top1}", row.source,
    ]  # fmt: skip


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
