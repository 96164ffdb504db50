"""The section `data`: clips a second and core of our loader, next to the plain way and the bare decoder."""

import argparse
import importlib.util
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import torch

from slowfast_mlp.apps import timing
from slowfast_mlp.benchmarks import loader_passes, throughput
from slowfast_mlp.benchmarks.loader_counts import counts_table
from slowfast_mlp.benchmarks.loader_tables import DECODE_ONLY, REFERENCE, LoaderGroup, _stage_table, _table
from slowfast_mlp.benchmarks.synthetic_videos import SMALL, CorpusSizes, ensure_corpus, mean_size_kib
from slowfast_mlp.benchmarks.tables import BenchmarkReport, format_number
from slowfast_mlp.data.clip_sampling import ClipSampler
from slowfast_mlp.data.datasets.kinetics import parse_list
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.source import open_record
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

DESCRIPTION = "clips a second and core of the loader, by stage, next to the plain way and the bare decoder"
EXACT, FUSED = "exact", "fused"
DEVICE, DEVICE_ON_CPU = "device, the host's part", "device, all on this CPU"
DECORD = "fused, by decord"
COPY = "re-encoded copy: "
JPEG, WEBM = "jpg: ", "webm: "
FOUR_CLIPS, THREE_CROPS = "4x1 views", "1x3 views"

# Ratios to the plain way: at least, and aimed at.
KINETICS_TARGETS = {EXACT: (2.5, 3.0), FUSED: (3.5, 4.5), DEVICE: (5.0, 6.0)}
COPY_TARGETS = {COPY + FUSED: (7.0, 9.0), COPY + DEVICE: (18.0, 30.0)}
SOMETHING_TARGETS = {JPEG + FUSED: (8.0, 10.0), JPEG + DEVICE: (20.0, 25.0)}
TEST_TARGETS = {"one decode": (4.0, 8.0)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The section's own flags."""
    parser.add_argument("--list", type=Path, metavar="FILE", help="your own videos: `path label` a line")
    parser.add_argument("--separator", default=" ", help="between path and label (a space)")
    parser.add_argument("--videos", type=int, default=8, help="of the list, evenly taken (8)")
    parser.add_argument(
        "--decodes", type=int, default=2, help="of every video in a pass, each of another clip (2)"
    )
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="make the videos here, and keep them")
    parser.add_argument(
        "--model", nargs=2, metavar=("NAME", "VARIANT"), help="say how many clips/s this backbone trains with"
    )


def run(
    arguments: argparse.Namespace, *, reference: Callable[[str], ModuleType], device: torch.device
) -> BenchmarkReport:
    """Measures and returns the tables. Raises UserError, and RuntimeError when frames are not those of a
    naive decode.
    """
    report, loader = BenchmarkReport(section="data"), reference("loader")
    for flag in ("videos", "decodes"):
        if getattr(arguments, flag) < 1:
            raise UserError(f"--{flag} {getattr(arguments, flag)}: give 1 or more.")
    num_epochs = 1 if arguments.quick else arguments.decodes
    crop_size = loader_passes.CROP_SIZE // 2 if arguments.quick else loader_passes.CROP_SIZE
    common = dict(num_epochs=num_epochs, crop_size=crop_size, report=report, reference=loader)
    if arguments.list:
        records = _read_listed(arguments.list, arguments.separator, arguments.videos, report)
        groups = [_video_group("videos of the list", records, targets=KINETICS_TARGETS, **common)]
        groups += _test_groups(records, crop_size, loader)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.corpus or Path(temporary) / "corpus"
            corpus = ensure_corpus(folder, SMALL if arguments.quick else CorpusSizes())
            groups = _corpus_groups(corpus, common)
            rates = _measure(groups, arguments.rounds, report)
    if arguments.list:
        rates = _measure(groups, arguments.rounds, report)
    report.remarks.append(_describe_model_demand(arguments.model, rates, device))
    return report


def _measure(groups: Sequence[LoaderGroup], num_rounds: int, report: BenchmarkReport) -> dict[str, float]:
    """Adds the tables; clips a second and core of the loaders of the first group."""
    for group in groups:
        logger.info("measuring %s: %s", group.title, ", ".join(group.workloads))
        report.tables.append(_table(group, timing.measure(group.workloads, num_rounds=num_rounds)))
    first = report.tables[-len(groups)]
    return {str(row[0]): float(row[5]) for row in first.rows}


def _corpus_groups(corpus: Mapping[str, list[Record]], common: dict) -> list[LoaderGroup]:
    """What is measured of the corpus that the benchmark makes."""
    titles = {
        "gop250": "Kinetics-like, h264 340x256, 10 s, a keyframe in 250 frames",
        "gop12": "the same, a keyframe in 12 frames",
    }
    groups = [
        _video_group(title, corpus[kind], targets=KINETICS_TARGETS, **common)
        for kind, title in titles.items()
    ]
    groups.append(_copy_group(corpus["gop250"], corpus["fastdecode"], **common))
    groups.append(_something_group(corpus["jpg"], corpus["webm"], **common))
    groups += _test_groups(corpus["gop250"], common["crop_size"], common["reference"])
    sizes = ", ".join(f"{kind} {mean_size_kib(records):.0f} KiB" for kind, records in corpus.items())
    common["report"].remarks.append(f"A video has on average: {sizes}.")
    return groups


def _video_group(
    title: str,
    records: Sequence[Record],
    *,
    num_epochs: int,
    crop_size: int,
    targets: Mapping[str, tuple[float, float]],
    report: BenchmarkReport,
    reference: ModuleType,
) -> LoaderGroup:
    """Every way to load dense clips of videos; adds the stages and the counts to the report."""
    jobs = loader_passes.make_jobs(records, loader_passes.DENSE, num_epochs=num_epochs, crop_size=crop_size)
    _check_equal_frames(jobs, reference)
    workloads = {
        REFERENCE: loader_passes.reference_pass(reference, jobs, loader_passes.DENSE),
        **_our_subjects(records, jobs, loader_passes.DENSE, crop_size),
        DECODE_ONLY: loader_passes.decode_only_pass(reference, jobs),
    }
    if importlib.util.find_spec("decord"):
        by_decord = loader_passes.train_videos(
            records, loader_passes.DENSE, FUSED, decoder="decord", crop_size=crop_size
        )
        workloads[DECORD] = loader_passes.our_pass(by_decord, jobs)
    else:
        report.remarks.append("decord is not installed and was left out.")
    on_cpu = loader_passes.train_videos(records, loader_passes.DENSE, "device", crop_size=crop_size)
    workloads[DEVICE_ON_CPU] = loader_passes.our_pass(
        on_cpu, jobs, loader_passes.make_device_transform(torch.device("cpu"))
    )
    profiled, num_clips = [REFERENCE, EXACT, FUSED, DEVICE_ON_CPU], len(jobs) * loader_passes.NUM_SAMPLES
    report.tables.append(_stage_table(title, {name: workloads[name] for name in profiled}, num_clips))
    report.tables.append(counts_table(title, jobs, records, crop_size, reference))
    note = (
        f"{len(jobs)} decodes of {len(records)} videos a pass, {loader_passes.NUM_SAMPLES} views each. "
        "Frames are bit for bit those of a naive decode. The plain way normalizes on the host, ours on the "
        "device: only the last row has it here."
    )
    return LoaderGroup(
        title=title, note=note, baseline=REFERENCE, workloads=workloads, num_clips=num_clips, targets=targets
    )


def _our_subjects(
    records: Sequence[Record], jobs: Sequence[loader_passes.Job], clips: ClipSampler, crop_size: int
) -> dict[str, Callable[[], None]]:
    modes = {EXACT: "exact", FUSED: "fused", DEVICE: "device"}
    return {
        name: loader_passes.our_pass(
            loader_passes.train_videos(records, clips, mode, crop_size=crop_size), jobs
        )
        for name, mode in modes.items()
    }


def _copy_group(
    originals: Sequence[Record],
    copies: Sequence[Record],
    *,
    num_epochs: int,
    crop_size: int,
    report: BenchmarkReport,
    reference: ModuleType,
) -> LoaderGroup:
    """Our loader on copies that are quick to decode, against the plain way on the originals."""
    jobs = loader_passes.make_jobs(originals, loader_passes.DENSE, num_epochs=num_epochs, crop_size=crop_size)
    copied = loader_passes.make_jobs(copies, loader_passes.DENSE, num_epochs=num_epochs, crop_size=crop_size)
    _check_equal_frames(copied, reference)
    ours = _our_subjects(copies, copied, loader_passes.DENSE, crop_size)
    return LoaderGroup(
        title="A prepared copy: a keyframe in 12 frames, tune fastdecode",
        note="The plain way reads the originals (a keyframe in 250 frames).",
        baseline=REFERENCE,
        workloads={
            REFERENCE: loader_passes.reference_pass(reference, jobs, loader_passes.DENSE),
            **{COPY + name: load for name, load in ours.items()},
            COPY + DECODE_ONLY: loader_passes.decode_only_pass(reference, copied),
        },
        num_clips=len(jobs) * loader_passes.NUM_SAMPLES,
        targets=COPY_TARGETS,
    )


def _something_group(
    pictures: Sequence[Record],
    videos: Sequence[Record],
    *,
    num_epochs: int,
    crop_size: int,
    report: BenchmarkReport,
    reference: ModuleType,
) -> LoaderGroup:
    """Segments of the same videos as pictures and as vp9, against the plain way on the pictures."""
    workloads: dict[str, Callable[[], None]] = {}
    for prefix, records in ((JPEG, pictures), (WEBM, videos)):
        jobs = loader_passes.make_jobs(
            records, loader_passes.SEGMENTS, num_epochs=num_epochs, crop_size=crop_size
        )
        _check_equal_frames(jobs, reference)
        if prefix == JPEG:
            workloads[REFERENCE] = loader_passes.reference_pass(reference, jobs, loader_passes.SEGMENTS)
        ours = _our_subjects(records, jobs, loader_passes.SEGMENTS, crop_size)
        workloads |= {prefix + name: load for name, load in ours.items()}
        workloads[prefix + DECODE_ONLY] = loader_passes.decode_only_pass(reference, jobs)
    return LoaderGroup(
        title="Something-Something-like, 427x240, 48 frames at 12 a second, 16 segments",
        note="The plain way reads the pictures, also for webm.",
        baseline=REFERENCE,
        workloads=workloads,
        num_clips=len(jobs) * loader_passes.NUM_SAMPLES,
        targets=SOMETHING_TARGETS,
    )


def _test_groups(records: Sequence[Record], crop_size: int, reference: ModuleType) -> list[LoaderGroup]:
    """Tests with several views: one decode for all, against one a view."""
    groups = []
    for title, num_clips, num_crops in ((FOUR_CLIPS, 4, 1), (THREE_CROPS, 1, 3)):
        views = dict(num_clips=num_clips, num_crops=num_crops, crop_size=crop_size)
        workloads = {
            REFERENCE: loader_passes.reference_test_pass(reference, records, **views),
            "one decode": loader_passes.our_test_pass(loader_passes.test_videos(records, **views)),
        }
        groups.append(
            LoaderGroup(
                title=f"Testing with {title}",
                note="The plain way decodes a video once a view; a clip is a view.",
                baseline=REFERENCE,
                workloads=workloads,
                num_clips=len(records) * num_clips * num_crops,
                targets=TEST_TARGETS,
            )
        )
    return groups


def _check_equal_frames(jobs: Sequence[loader_passes.Job], reference: ModuleType) -> None:
    """Raises RuntimeError where our frames are not byte for byte those of decoding everything."""
    for job in jobs:
        with open_record(job.record, "pyav") as video:
            ours = video.read(job.indices)
        if job.record.num_frames:
            naive = reference.read_images(loader_passes.image_paths(job))
        else:
            naive = reference.decode_all(job.record.path)[list(job.indices)]
        if not torch.equal(ours, naive):
            raise RuntimeError(f"{job.record.path}: the frames {job.indices} are not those of a naive decode")


def _read_listed(path: Path, separator: str, num_videos: int, report: BenchmarkReport) -> list[Record]:
    """Some videos of a list that can be decoded."""
    if not path.is_file():
        raise UserError(f"--list {path}: there is no such file.")
    listed = list(parse_list(str(path), prefix=str(path.parent), separator=separator))
    readable = []
    for record in listed[:: max(1, len(listed) // num_videos)][:num_videos]:
        try:
            loader_passes.make_jobs([record], loader_passes.DENSE, num_epochs=1)
            readable.append(record)
        except (DecodeError, UserError) as error:
            report.remarks.append(f"left out: {error}")
    if not readable:
        raise UserError(f"--list {path}: none of {num_videos} videos can be decoded; {report.remarks[0]}")
    return readable


def _describe_model_demand(
    model: Sequence[str] | None, rates: Mapping[str, float], device: torch.device
) -> str:
    """How many clips a second a backbone takes on the device, and how many cores that keeps busy."""
    if not model:
        return "What a model needs was not measured: give --model NAME VARIANT, such as --model morphmlp S."
    name, variant = model
    needed = throughput.clips_per_sec(name, variant, device)
    cores = ", ".join(
        f"{loader} {needed / rate:.1f}" for loader, rate in rates.items() if loader != DECODE_ONLY
    )
    rate = f"{name} {variant} trains with {format_number(needed)} clips/s on {device.type}"
    return f"{rate}; cores that load as many: {cores}."
