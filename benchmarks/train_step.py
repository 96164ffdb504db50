"""The section `step`: what the training loop adds to a bare one, and where the time of a step goes."""

import argparse
import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from slowfast_mlp.apps import timing
from slowfast_mlp.benchmarks.host_syncs import count_host_syncs
from slowfast_mlp.benchmarks.optimizers import optimizer_table
from slowfast_mlp.benchmarks.step_tables import (
    BARE,
    OURS,
    _loops_table,
    _parts_table,
)
from slowfast_mlp.benchmarks.step_timer import StepTimer
from slowfast_mlp.benchmarks.synthetic_videos import SMALL, CorpusSizes, ensure_corpus
from slowfast_mlp.benchmarks.tables import BenchmarkReport, Table
from slowfast_mlp.benchmarks.throughput import NUM_CLASSES, build_model
from slowfast_mlp.benchmarks.training_loops import (
    LOG_PERIOD,
    LoopSetup,
    bare_loop,
    training_loop,
    video_loader,
)
from slowfast_mlp.builders import solver
from slowfast_mlp.config.schema import Solver
from slowfast_mlp.data.batch import Views
from slowfast_mlp.data.records import Record
from slowfast_mlp.engine.optimizer import parameter_groups
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.errors import UserError
from slowfast_mlp.log.run_log import RunLog

logger = logging.getLogger(__name__)

DESCRIPTION = "what the training loop adds to a bare one, and where the time of a step goes"
QUICK_ARGUMENTS = {"dims": (8, 16, 32, 64)}
NUM_LOADER_STEPS = 24  # of the passes over videos: what the workers load ahead shall not count for much


class TinyModel(nn.Module):
    """Logits of a clip's mean pixel: next to no work."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, T, H, W] -> [B, K]."""
        return self.head(x.mean(dim=(2, 3, 4)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The section's own flags."""
    parser.add_argument("--model", nargs=2, metavar=("NAME", "VARIANT"), default=("morphmlp", "S"))
    parser.add_argument("--steps", type=int, help="of a pass (4; 20 on a GPU, 3 with --quick)")
    parser.add_argument("--batch", type=int, help="clips of a step (2; 16 on a GPU)")
    parser.add_argument(
        "--fake-data",
        action="store_true",
        help="leave out the passes over videos: batches in memory alone, so that nothing waits for data",
    )
    parser.add_argument(
        "--fake-model",
        action="store_true",
        help="videos through loader and loop alone, with next to no model: what the loader can give",
    )
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="make the videos here, and keep them")


def run(
    arguments: argparse.Namespace, *, reference: Callable[[str], ModuleType], device: torch.device
) -> BenchmarkReport:
    """Measures and returns the tables. Raises UserError."""
    if arguments.fake_data and arguments.fake_model:
        raise UserError("--fake-data and --fake-model together leave nothing to measure; give one of them.")
    on_gpu = device.type == "cuda"
    num_steps = arguments.steps or (3 if arguments.quick else 20 if on_gpu else 4)
    setup = make_setup(
        *arguments.model,
        num_steps=num_steps,
        batch_size=arguments.batch or (16 if on_gpu else 2),
        device=device,
        quick=arguments.quick,
    )
    report = BenchmarkReport(section="step")
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(sys.stderr),
        _open_log(folder) as log,
    ):
        if not arguments.fake_model:
            report.tables += _measure_in_memory(arguments, setup, log, report.remarks)
        if not arguments.fake_data:
            corpus = arguments.corpus or Path(folder) / "corpus"
            records = ensure_corpus(corpus, SMALL if arguments.quick else CorpusSizes())["gop12"]
            report.tables += _measure_videos(arguments, setup, log, records, report.remarks)
    return report


def _measure_in_memory(
    arguments: argparse.Namespace, setup: LoopSetup, log: RunLog, remarks: list[str]
) -> list[Table]:
    """The loop next to the bare one, the parts of its steps, and the optimiser by itself."""
    on_gpu, num_steps = setup.device.type == "cuda", len(setup.batches)
    train = partial(training_loop, setup, log)
    workloads = {BARE: partial(bare_loop, setup), OURS: train}
    cost = partial(_time_on_gpu, setup.device) if on_gpu else timing.time_call
    logger.info("measuring %s", ", ".join(workloads))
    costs = timing.measure(workloads, num_rounds=arguments.rounds, cost=cost)
    timer = StepTimer(setup.model, setup.optimizer, setup.device)
    train(timer=timer)
    num_syncs = count_host_syncs(train, setup.device, setup.optimizer)
    title, name = _title(arguments.model, setup), " ".join(arguments.model)
    batch = len(setup.batches[0].labels)
    num_lines = -(-num_steps // LOG_PERIOD)
    remarks.append(
        f"The host waited for the device {num_syncs} times in {num_steps} steps, {num_lines} of them with a "
        f"line{'' if on_gpu else ' (on a CPU: values that Python asked of tensors)'}."
    )
    return [
        _loops_table(title, costs, num_steps, batch, on_gpu=on_gpu),
        _parts_table(f"{title}; batches in memory", timer.seconds(), num_steps),
        optimizer_table(name, setup.model, setup.optimizer, num_rounds=arguments.rounds, device=setup.device),
    ]


def _measure_videos(
    arguments: argparse.Namespace,
    setup: LoopSetup,
    log: RunLog,
    records: Sequence[Record],
    remarks: list[str],
) -> list[Table]:
    """Clips a second of loader, backbone and both, and the parts of a step that waits for its loader."""
    tiny = TinyModel().to(setup.device)
    tiny_setup = replace(setup, model=tiny, optimizer=torch.optim.AdamW(parameter_groups(tiny, 0.0)))
    num_steps = len(setup.batches)
    logger.info("measuring loader and loop with next to no model")
    rates = {"loader": _clips_per_sec(tiny_setup, log, records, NUM_LOADER_STEPS)}
    tables = []
    if not arguments.fake_model:
        logger.info("measuring the backbone alone, and with the loader")
        timer = StepTimer(setup.model, setup.optimizer, setup.device)
        rates["backbone"] = _clips_per_sec(setup, log, None, num_steps)
        rates["both"] = _clips_per_sec(setup, log, records, num_steps, timer=timer)
        title = f"{_title(arguments.model, setup)}; h264 videos, mode fused, one worker"
        tables.append(_parts_table(title, timer.seconds(), num_steps))
        slower = min(("loader", "backbone"), key=rates.__getitem__)
        workers = rates["backbone"] / rates["loader"]
        remarks.append(
            f"With one worker the {slower} limits the training; {workers:.1f} such workers would load what "
            "the backbone takes."
        )
    rows = [(part, f"{rate:.3g}") for part, rate in rates.items()]
    note = "Of the clock, from the first batch on; one worker loads, next to the loop."
    columns = ("through the training loop", "clips/s")
    return [Table(title="What limits", note=note, columns=columns, rows=rows), *tables]


def _clips_per_sec(
    setup: LoopSetup,
    log: RunLog,
    records: Sequence[Record] | None,
    num_steps: int,
    *,
    timer: StepTimer | None = None,
) -> float:
    """Of some steps of the training loop over videos, or over batches in memory, after the first batch."""
    setup = replace(setup, batches=[setup.batches[0]] * num_steps)
    started: list[float] = []

    def batches() -> Iterator[Views]:
        for views in setup.batches if records is None else video_loader(setup, records):
            started.append(time.perf_counter())
            yield views

    training_loop(setup, log, timer=timer, loader=batches())
    return num_steps * len(setup.batches[0].labels) / (time.perf_counter() - started[0])


def _title(model: Sequence[str], setup: LoopSetup) -> str:
    batch = len(setup.batches[0].labels)
    _, _, T, size, _ = setup.batches[0].clips.shape
    narrow = ", narrowed," if setup.is_reduced else ""
    shape = f"{batch} clips of {T}x{size}x{size} each"
    return f"{len(setup.batches)} steps of {' '.join(model)}{narrow} {shape}, {setup.precision.mode}"


def make_setup(
    name: str, variant: str, *, num_steps: int, batch_size: int, device: torch.device, quick: bool
) -> LoopSetup:
    """The model and its batches; small ones if `quick`. Raises UserError."""
    num_frames, crop_size = (4, 32) if quick else (16, 224)
    small = QUICK_ARGUMENTS if quick and name == "morphmlp" else None
    model = build_model(name, variant, device, num_frames=num_frames, crop_size=crop_size, arguments=small)
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, 3, num_frames, crop_size, crop_size)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    labels = torch.randint(NUM_CLASSES, (batch_size,), generator=generator)
    if device.type == "cuda":
        clips, labels = clips.pin_memory(), labels.pin_memory()
    return LoopSetup(
        model=model,
        optimizer=solver.optimizer(Solver(base_lr=1e-4), model, shard=False),
        precision=Precision("auto", device),
        batches=[Views(clips, labels, labels, ())] * num_steps,
        device=device,
        is_reduced=small is not None,
    )


def _open_log(folder: str) -> RunLog:
    return RunLog(folder, enabled=True, tensorboard=True)


def _time_on_gpu(device: torch.device, work: Callable[[], object]) -> timing.CallTime:
    """With the device idle before and after."""

    def call_and_sync() -> None:
        work()
        torch.cuda.synchronize(device)

    torch.cuda.synchronize(device)
    return timing.time_call(call_and_sync)
