"""The section `eval`: videos a second through the loader of a test and a backbone, next to the plain way to
load and compute.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from slowfast_mlp.apps import timing
from slowfast_mlp.benchmarks import loader_passes
from slowfast_mlp.benchmarks.device_timer import primary_sec, timer_for
from slowfast_mlp.benchmarks.reference_model import ReferenceModel
from slowfast_mlp.benchmarks.roofline import MODES
from slowfast_mlp.benchmarks.synthetic_videos import SMALL, CorpusSizes, ensure_corpus
from slowfast_mlp.benchmarks.tables import BenchmarkReport, Table, load_average, spread_cells
from slowfast_mlp.benchmarks.throughput import build_model
from slowfast_mlp.data.records import Record
from slowfast_mlp.engine.precision import Precision

DESCRIPTION = "videos a second of a test with 1x3 and 4x1 views, loader and backbone, next to the plain way"
VIEWS = {"1x3 views": (1, 3), "4x1 views": (4, 1)}
CORPUS = "gop12"
QUICK_CROP, QUICK_ARGUMENTS = 32, {"dims": (8, 16, 32, 64)}  # of MorphMLP; others run whole
REFERENCE_LOADER, REFERENCE = "plain loader", "plain loader, reference in fp32"
LOADER, OURS = "loader", "loader and backbone"
# Row -> the row that it is to be compared with.
BASELINE_OF = {
    REFERENCE_LOADER: REFERENCE_LOADER,
    LOADER: REFERENCE_LOADER,
    REFERENCE: REFERENCE,
    OURS: REFERENCE,
}
COLUMNS = ("views", "part", "ms/video", "p25-p75", "spread %", "wall ms/video", "videos/s", "x plain")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The section's own flags."""
    parser.add_argument("--model", nargs=2, metavar=("NAME", "VARIANT"), default=("morphmlp", "S"))
    parser.add_argument("--precision", choices=MODES, help="fp32 or bf16 (what TRAIN.PRECISION auto takes)")
    parser.add_argument("--videos", type=int, default=2, help="of a pass (2)")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="make the videos here, and keep them")


def run(
    arguments: argparse.Namespace, *, reference: Callable[[str], ModuleType], device: torch.device
) -> BenchmarkReport:
    """Measures and returns the table. Raises UserError."""
    name, variant = arguments.model
    small = QUICK_ARGUMENTS if arguments.quick and name == "morphmlp" else None
    crop_size = QUICK_CROP if small else loader_passes.CROP_SIZE
    report = BenchmarkReport(section="eval")
    net = build_model(name, variant, device, crop_size=crop_size, arguments=small).eval()
    baseline = ReferenceModel(net).eval()
    precision = Precision(arguments.precision or "auto", device)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.corpus or Path(temporary) / "corpus"
        records = ensure_corpus(folder, SMALL if arguments.quick else CorpusSizes())[CORPUS][
            : arguments.videos
        ]
        workloads = view_workloads(records, net, precision, crop_size, device)
        workloads |= reference_workloads(reference("loader"), records, baseline, crop_size, device)
        costs = timing.measure(workloads, num_rounds=arguments.rounds, cost=timer_for(device))
    seconds = {key: [primary_sec(cost, device) for cost in passed] for key, passed in costs.items()}
    rows = [
        _row(*key, costs[key], seconds[key], seconds.get((key[0], BASELINE_OF[key[1]])), len(records))
        for key in sorted(costs, key=lambda key: (list(VIEWS).index(key[0]), list(BASELINE_OF).index(key[1])))
    ]
    title = f"{name} {variant}{', narrowed' if small else ''}, {precision.mode}, {len(records)} videos"
    note = (
        "Loader and backbone take turns on one thread, a video at a time. A GPU computes while workers load, "
        "so that the slower of both is what a test takes there. The plain loader decodes a video again for "
        "every view, and the reference computes a view at a time in fp32. Load average after it: "
        f"{load_average()}."
    )
    report.tables.append(Table(title=title, note=note, columns=COLUMNS, rows=rows))
    return report


def _row(
    views: str,
    part: str,
    passed: Sequence[timing.CallTime],
    seconds: Sequence[float],
    baseline: Sequence[float] | None,
    num_videos: int,
) -> tuple:
    ms = timing.summarize([1000 * value / num_videos for value in seconds])
    wall = timing.summarize([1000 * cost.wall_sec / num_videos for cost in passed])
    times = "-" if baseline is None else timing.speedup(seconds, baseline).median
    return views, part, ms.median, *spread_cells(ms), wall.median, 1000 / ms.median, times


def view_workloads(
    records: Sequence[Record], net: nn.Module, precision: Precision, crop_size: int, device: torch.device
) -> dict[tuple[str, str], Callable[[], object]]:
    """By views and part: loading alone, and loading with the forward pass of all views of a video."""
    workloads: dict[tuple[str, str], Callable[[], object]] = {}
    device_transform = loader_passes.make_device_transform(device)
    for title, (num_clips, num_crops) in VIEWS.items():
        videos = loader_passes.test_videos(
            records, num_clips=num_clips, num_crops=num_crops, crop_size=crop_size
        )

        def score(videos=videos) -> None:
            for index in range(len(videos)):
                clips = device_transform(videos[index].to(device))
                with torch.inference_mode(), precision.autocast():
                    net(clips)

        workloads[title, LOADER] = loader_passes.our_test_pass(videos)
        workloads[title, OURS] = score
    return workloads


def reference_workloads(
    loader: ModuleType,
    records: Sequence[Record],
    baseline: nn.Module | None,
    crop_size: int,
    device: torch.device,
) -> dict[tuple[str, str], Callable[[], object]]:
    """The same parts as a plain program has them: a decode a view, and the straightforward form in fp32."""
    workloads: dict[tuple[str, str], Callable[[], object]] = {}
    for title, (num_clips, num_crops) in VIEWS.items():
        protocol = dict(num_clips=num_clips, num_crops=num_crops, crop_size=crop_size)
        views = loader_passes.reference_test_clips(loader, records, **protocol)

        def score(views=views) -> None:
            for load_view in views:
                with torch.inference_mode():
                    baseline(load_view().to(device))

        workloads[title, REFERENCE_LOADER] = loader_passes.reference_test_pass(loader, records, **protocol)
        if baseline is not None:
            workloads[title, REFERENCE] = score
    return workloads
