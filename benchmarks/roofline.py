"""The section `floor`: how quickly this machine multiplies matrices and copies memory, next to which all else
is judged.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch

from slowfast_mlp.apps import timing
from slowfast_mlp.benchmarks.device_timer import primary_sec, timer_for
from slowfast_mlp.benchmarks.tables import BenchmarkReport, Table
from slowfast_mlp.engine.precision import DTYPES

DESCRIPTION = "how quickly the machine multiplies matrices and copies memory"
# Side of the matrices: large enough that the product counts and not its start, small enough for a moment.
CPU_SIDE, CUDA_SIDE, QUICK_SIDE = 1536, 8192, 128
COPY_MIB, QUICK_COPY_MIB = 256, 1  # far beyond any cache
MODES = ("fp32", "bf16")


@dataclass(frozen=True)
class Roofline:
    """A second's floating-point operations of a matrix product (two a multiply-add), and bytes that a copy
    reads and writes.
    """

    flops_per_sec: float
    bytes_per_sec: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The section has no flags of its own."""


def run(arguments: argparse.Namespace, *, reference: Callable, device: torch.device) -> BenchmarkReport:
    """Measures and returns the table."""
    rows = []
    for mode in MODES:
        roofline = measure_roofline(device, mode, num_rounds=arguments.rounds, quick=arguments.quick)
        rows.append((mode, roofline.flops_per_sec / 1e9, roofline.bytes_per_sec / 1e9))
    table = Table(
        title="Floor",
        note="Of one thread on a CPU: the best pass. A copy reads and writes every byte.",
        columns=("precision", "matrix product GFLOP/s", "copy GB/s"),
        rows=rows,
    )
    return BenchmarkReport(section="floor", tables=[table])


def measure_roofline(device: torch.device, mode: str, *, num_rounds: int, quick: bool) -> Roofline:
    """The best rates of some rounds, in the precision `mode`: what the machine can do is what it did once."""
    side = QUICK_SIDE if quick else CUDA_SIDE if device.type == "cuda" else CPU_SIDE
    dtype = DTYPES[mode]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.empty(side, side, device=device, dtype=dtype)
    source = torch.randn((QUICK_COPY_MIB if quick else COPY_MIB) * 2**18, device=device)
    target = torch.empty_like(source)
    workloads = {
        "product": lambda: torch.mm(left, right, out=product),
        "copy": lambda: target.copy_(source),
    }
    costs = timing.measure(workloads, num_rounds=num_rounds, cost=timer_for(device))
    seconds = {name: min(primary_sec(cost, device) for cost in passed) for name, passed in costs.items()}
    return Roofline(2 * side**3 / seconds["product"], 2 * source.nbytes / seconds["copy"])
