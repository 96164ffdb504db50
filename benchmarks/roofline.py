"""The section `floor`: how quickly this machine multiplies matrices and copies memory, beside which all else
is judged.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch

from slowfast_mlp.apps import timing
from slowfast_mlp.benchmarks.device_timer import cost_on, headline
from slowfast_mlp.benchmarks.tables import Report, Table
from slowfast_mlp.engine.precision import DTYPES

DESCRIPTION = "how quickly the machine multiplies matrices and copies memory"
# Side of the matrices: large enough that the product counts and not its start, small enough for a moment.
CPU_SIDE, CUDA_SIDE, QUICK_SIDE = 1536, 8192, 128
COPY_MIB, QUICK_COPY_MIB = 256, 1  # far beyond any cache
MODES = ("fp32", "bf16")


@dataclass(frozen=True)
class Floor:
    """A second's floating-point operations of a matrix product (two a multiply-add), and bytes that a copy
    reads and writes.
    """

    flops_per_sec: float
    bytes_per_sec: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The section has no flags of its own."""


def run(arguments: argparse.Namespace, *, reference: Callable, device: torch.device) -> Report:
    """Measures and returns the table."""
    rows = []
    for mode in MODES:
        floor = measure_floor(device, mode, num_rounds=arguments.rounds, quick=arguments.quick)
        rows.append((mode, floor.flops_per_sec / 1e9, floor.bytes_per_sec / 1e9))
    table = Table(
        title="Floor",
        note="Of one thread on a CPU: the best pass. A copy reads and writes every byte.",
        columns=("precision", "matrix product GFLOP/s", "copy GB/s"),
        rows=rows,
    )
    return Report(section="floor", tables=[table])


def measure_floor(device: torch.device, mode: str, *, num_rounds: int, quick: bool) -> Floor:
    """The best rates of some rounds, in the precision `mode`: what the machine can do is what it did once."""
    side = QUICK_SIDE if quick else CUDA_SIDE if device.type == "cuda" else CPU_SIDE
    dtype = DTYPES[mode]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.empty(side, side, device=device, dtype=dtype)
    source = torch.randn((QUICK_COPY_MIB if quick else COPY_MIB) * 2**18, device=device)
    target = torch.empty_like(source)
    subjects = {
        "product": lambda: torch.mm(left, right, out=product),
        "copy": lambda: target.copy_(source),
    }
    costs = timing.measure(subjects, num_rounds=num_rounds, cost=cost_on(device))
    seconds = {name: min(headline(cost, device) for cost in passed) for name, passed in costs.items()}
    return Floor(2 * side**3 / seconds["product"], 2 * source.nbytes / seconds["copy"])
