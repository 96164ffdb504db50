"""The section `model`: a backbone next to its reference implementation (its own forward without fused
kernels) with the same weights, and next to other programs.
"""

import argparse
import copy
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from slowfast_mlp.apps import timing
from slowfast_mlp.benchmarks import history
from slowfast_mlp.benchmarks.device_timer import primary_sec, timer_for
from slowfast_mlp.benchmarks.model_passes import (
    FORWARD,
    PASSES,
    BenchModel,
    compute_logits,
    count_flops,
    count_pass,
    make_pass,
)
from slowfast_mlp.benchmarks.model_tables import Case, _history_row, _row
from slowfast_mlp.benchmarks.other_codebases import PEERS, build_peer, peer_weights
from slowfast_mlp.benchmarks.reference_model import ReferenceModel
from slowfast_mlp.benchmarks.roofline import MODES, Roofline, measure_roofline
from slowfast_mlp.benchmarks.tables import (
    BenchmarkReport,
    Table,
    load_average,
)
from slowfast_mlp.benchmarks.throughput import CROP_SIZE, NUM_CLASSES, NUM_FRAMES, build_model
from slowfast_mlp.builders import model
from slowfast_mlp.config.schema import Model
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

DESCRIPTION = "a backbone's passes: time, memory and bytes moved, next to a straightforward formulation of it"
REFERENCE, OURS = "reference", "ours"
COMPILED = ", compiled"
CUDA_BATCH, CPU_BATCH = 16, 1
# Sizes at which a network runs in a moment, by MODEL.NAME; others are quick enough with clips of QUICK_CLIP.
QUICK_CLIP = (4, 32)
QUICK_ARGUMENTS = {
    "morphmlp": dict(depths=(1, 1, 1, 1), dims=(8, 16, 32, 64)),
    "posmlp_video": dict(
        depths=(1, 1, 1, 1), dims=(8, 16, 32, 64), num_groups=(2, 4, 8, 16), time_windows=(4, 2, 2, 4)
    ),
    "vast": dict(depths=(1, 1, 1, 1), dims=(8, 16, 32, 64)),
}
# The official start leaves whole branches at zero, which would hide what they compute.
JITTER = 0.02
COLUMNS = (
    "row",
    "ms/clip",
    "p25-p75",
    "spread %",
    "clips/s",
    "x reference",
    "x matmul",
    "x copy",
    "kernels",
    "permute copies",
    "GB moved/clip",
    "saved MiB/clip",
    "peak MiB",
    "max abs diff",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The section's own flags."""
    parser.add_argument("model", nargs="+", metavar="NAME VARIANT", help="such as morphmlp S posmlp_video S")
    parser.add_argument("--precision", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=PASSES)
    parser.add_argument("--batch", type=int, help=f"clips of a pass ({CPU_BATCH}; {CUDA_BATCH} on a GPU)")
    parser.add_argument("--frames", type=int, help=f"of a clip ({NUM_FRAMES})")
    parser.add_argument("--crop", type=int, help=f"pixels a side ({CROP_SIZE})")
    parser.add_argument("--compile", action="store_true", help="a row for ours under torch.compile")
    parser.add_argument(
        "--compile-reference", action="store_true", help="and one for the reference (minutes on a CPU)"
    )
    parser.add_argument(
        "--peer",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=PATH",
        help=f"your own checkout of another program: {', '.join(PEERS)}",
    )
    parser.add_argument("--sweep", action="store_true", help="on a GPU: batches up to the end of its memory")
    parser.add_argument(
        "--history", type=Path, metavar="FILE", help="add the figures to a CSV (benchmarks/history.csv)"
    )


def run(
    arguments: argparse.Namespace, *, reference: Callable[[str], ModuleType], device: torch.device
) -> BenchmarkReport:
    """Measures and returns the tables. Raises UserError."""
    if len(arguments.model) % 2:
        raise UserError(f"model {' '.join(arguments.model)}: give pairs of a name and a variant.")
    if arguments.sweep and device.type != "cuda":
        raise UserError("--sweep looks for the end of a GPU's memory, and there is no GPU; leave it out.")
    peers = dict(map(_parse_peer, arguments.peer))
    report = BenchmarkReport(section="model")
    rooflines = {
        mode: measure_roofline(device, mode, num_rounds=arguments.rounds, quick=arguments.quick)
        for mode in arguments.precision
    }
    history_rows: list[dict] = []
    for name, variant in zip(arguments.model[::2], arguments.model[1::2]):
        case = make_case(name, variant, arguments, peers, device)
        for mode in arguments.precision:
            for kind in arguments.passes:
                table, rows = _measure(case, mode, kind, rooflines[mode], arguments.rounds, device)
                report.tables.append(table)
                history_rows += rows
            if arguments.sweep:
                report.tables.append(_sweep(case, mode, arguments.passes))
    if arguments.history:
        history.append(arguments.history, history_rows)
    return report


def make_case(
    name: str,
    variant: str,
    arguments: argparse.Namespace,
    peers: dict[str, Path],
    device: torch.device,
) -> Case:
    """The networks to compare, and their inputs. Raises UserError."""
    ours, clips, labels = _model_and_batch(name, variant, arguments, device)
    bench_models = _rows(REFERENCE, ReferenceModel(ours), with_compiled=arguments.compile_reference)
    bench_models += _rows(OURS, ours, with_compiled=arguments.compile)
    expected = compute_logits(bench_models[0], clips, "fp32")
    modes = arguments.precision
    differences = {
        bench_model.name: {
            mode: _difference(compute_logits(bench_model, clips, mode), expected) for mode in modes
        }
        for bench_model in bench_models
    }
    for peer, checkout in peers.items():
        if PEERS[peer].family in (name, None):
            bench_model, difference = _peer_row(peer, checkout, ours, name, clips)
            bench_models.append(bench_model)
            if difference:
                differences[bench_model.name] = {mode: difference(mode) for mode in modes}
    return Case(
        name=name,
        variant=variant,
        clips=clips,
        labels=labels,
        bench_models=bench_models,
        differences=differences,
    )


def _model_and_batch(
    name: str, variant: str, arguments: argparse.Namespace, device: torch.device
) -> tuple[nn.Module, Tensor, Tensor]:
    """A model none of whose branches gives zero, clips [B, 3, T, S, S] and labels [B]."""
    default_clip = QUICK_CLIP if arguments.quick else (NUM_FRAMES, CROP_SIZE)
    num_frames, crop_size = (arguments.frames or default_clip[0], arguments.crop or default_clip[1])
    quick_args = QUICK_ARGUMENTS.get(name) if arguments.quick else None
    ours = build_model(
        name, variant, device, num_frames=num_frames, crop_size=crop_size, arguments=quick_args
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(JITTER * torch.randn(parameter.shape, generator=generator).to(device))
    batch_size = arguments.batch or (CUDA_BATCH if device.type == "cuda" else CPU_BATCH)
    shape = (batch_size, 3, num_frames, crop_size, crop_size)
    clips = torch.randn(shape, generator=generator).to(device)
    labels = torch.randint(NUM_CLASSES, (batch_size,), generator=generator).to(device)
    return ours, clips, labels


def _rows(name: str, net: nn.Module, *, with_compiled: bool) -> list[BenchModel]:
    rows = [BenchModel(name=name, net=net, call=net)]
    if with_compiled:
        rows.append(BenchModel(name=name + COMPILED, net=net, call=torch.compile(net), is_compiled=True))
    return rows


def _peer_row(
    peer: str, checkout: Path, ours: nn.Module, name: str, clips: Tensor
) -> tuple[BenchModel, Callable[[str], float] | None]:
    """A row of another program; of the same architecture, with the difference to ours with its weights."""
    net, call = build_peer(peer, checkout, ours)
    bench_model = BenchModel(name=PEERS[peer].title, net=net.to(clips.device), call=call)
    if PEERS[peer].family is None:
        return bench_model, None
    ours_with_peer_weights = copy.deepcopy(ours)
    weights = model.official_weights(
        Model(name=name), {"model_state": peer_weights(net)}, f"--peer {peer}={checkout}"
    )
    ours_with_peer_weights.load_state_dict(weights)
    twin = BenchModel(name=OURS, net=ours_with_peer_weights, call=ours_with_peer_weights)

    def difference(mode: str) -> float:
        return _difference(compute_logits(bench_model, clips, mode), compute_logits(twin, clips, mode))

    return bench_model, difference


def _difference(logits: Tensor, expected: Tensor) -> float:
    return (logits - expected).abs().max().item()


def _measure(
    case: Case, mode: str, kind: str, roofline: Roofline, num_rounds: int, device: torch.device
) -> tuple[Table, list[dict]]:
    """The table of a precision and a pass, and its lines of the history."""
    logger.info("measuring %s %s, %s, %s", case.name, case.variant, kind, mode)
    batch = len(case.clips)
    flops = count_flops(case.bench_models[0], kind, case.clips) / batch
    counts = {
        bench_model.name: count_pass(bench_model, kind, case.clips, case.labels, mode)
        for bench_model in case.bench_models
    }
    calls = {
        bench_model.name: make_pass(bench_model, kind, case.clips, case.labels, mode)
        for bench_model in case.bench_models
    }
    costs = timing.measure(calls, num_rounds=num_rounds, cost=timer_for(device))
    seconds = {name: [primary_sec(cost, device) / batch for cost in passed] for name, passed in costs.items()}
    base = seconds[case.bench_models[0].name]
    rows, history_rows = [], []
    for name, taken in seconds.items():
        difference = case.differences[name][mode] if kind == FORWARD and name in case.differences else None
        row = _row(name, taken, base, counts[name], batch, flops, roofline, difference)
        rows.append(row)
        history_rows.append(_history_row(case, mode, kind, name, row, counts[name], batch, device))
    _, _, T, size, _ = case.clips.shape
    clock = "CPU time of one thread" if device.type == "cpu" else "time by events"
    note = (
        f"{clock}; load average after it: {load_average()}. A clip has {flops / 2e9:.1f} G multiply-adds; "
        f"at {roofline.flops_per_sec / 1e9:.0f} GFLOP/s that is the floor of `x matmul`. `x copy` is next to "
        f"moving the row's own bytes at {roofline.bytes_per_sec / 1e9:.1f} GB/s. Differences are of logits, "
        "to "
        "the first row in fp32; those of another program to ours with its weights."
    )
    title = f"{case.name} {case.variant}, {kind}, {mode}, batches of {batch}, {T}x{size}x{size}"
    return Table(title=title, note=note, columns=COLUMNS, rows=rows), history_rows


def _sweep(case: Case, mode: str, passes: Iterable[str]) -> Table:
    """Clips a second of every row at batches that double until the GPU's memory ends."""
    rows: list[tuple] = []
    for bench_model in case.bench_models:
        for kind in passes:
            batch = 1
            while True:
                clips = case.clips[:1].expand(batch, *case.clips.shape[1:]).contiguous()
                work = make_pass(bench_model, kind, clips, case.labels[:1].expand(batch), mode)
                try:
                    work()
                    cost = timer_for(clips.device)(work)
                except torch.cuda.OutOfMemoryError:
                    torch.cuda.empty_cache()
                    break
                rows.append((bench_model.name, kind, batch, batch / cost.wall_sec))
                batch *= 2
    return Table(
        title=f"Batches of {case.name} {case.variant}, {mode}, up to the end of the memory",
        note="The last batch of a row is the largest that fits; twice as many clips do not.",
        columns=("row", "pass", "batch", "clips/s"),
        rows=rows,
    )


def _parse_peer(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if name not in PEERS or not separator or not path:
        raise UserError(f"--peer {text}: give NAME=PATH, where NAME is one of {', '.join(PEERS)}.")
    return name, Path(path)
