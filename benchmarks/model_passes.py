"""Networks that are measured side by side: their passes, and what can be counted of these."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from slowfast_mlp.benchmarks.memory_traffic import measure_traffic, saved_bytes
from slowfast_mlp.engine.precision import Precision

FORWARD, TRAIN = "forward", "train"
PASSES = (FORWARD, TRAIN)


@dataclass(frozen=True, kw_only=True)
class BenchModel:
    """A row of a table: a network, and how it takes clips [B, 3, T, H, W] to logits. Compiled code does not
    show its operators, so nothing of it can be counted.
    """

    name: str
    net: nn.Module
    call: Callable[[Tensor], Tensor]
    is_compiled: bool = False


@dataclass(frozen=True, kw_only=True)
class PassCounts:
    """What a pass of one batch does, whatever the machine's load; None where it cannot be counted."""

    kernels: int | None
    bytes_moved: int | None
    permute_copies: int | None
    saved_bytes: int | None
    peak_bytes: int | None


def make_pass(
    bench_model: BenchModel,
    kind: str,
    clips: Tensor,
    labels: Tensor,
    mode: str,
    *,
    for_counting: bool = False,
) -> Callable[[], object]:
    """A call that runs the subject once: the forward pass of an evaluation, or forward and backward of a
    step, without the optimiser. `mode` is fp32, bf16 or fp16.

    `for_counting` leaves out the inference mode, in which reshapes do not show whether they copy.
    """

    def precision_context() -> AbstractContextManager:
        # Meta tensors know no autocast.
        return nullcontext() if mode == "fp32" else Precision(mode, clips.device).autocast()

    def forward() -> Tensor:
        with torch.no_grad() if for_counting else torch.inference_mode(), precision_context():
            return bench_model.call(clips)

    def train() -> None:
        for parameter in bench_model.net.parameters():
            parameter.grad = None
        with precision_context():
            logits = bench_model.call(clips)
        F.cross_entropy(logits.float(), labels).backward()

    def run() -> object:
        if bench_model.net.training != (kind == TRAIN):  # else it would let go of what an evaluation keeps
            bench_model.net.train(kind == TRAIN)  # subjects take turns, and a compiled net may be another's
            for parameter in bench_model.net.parameters():
                parameter.grad = None  # next to which an evaluation keeps nothing
        return train() if kind == TRAIN else forward()

    return run


def compute_logits(bench_model: BenchModel, clips: Tensor, mode: str) -> Tensor:
    """Logits [B, K] of an evaluation, in float32 on the host."""
    return (
        make_pass(bench_model, FORWARD, clips, torch.zeros(len(clips), dtype=torch.int64), mode)()
        .float()
        .cpu()
    )


def count_pass(bench_model: BenchModel, kind: str, clips: Tensor, labels: Tensor, mode: str) -> PassCounts:
    """The counts of one pass, of an evaluation not the first; on a GPU the peak is the allocator's, with the
    weights and gradients in it.
    """
    work = make_pass(bench_model, kind, clips, labels, mode, for_counting=True)
    peak = _cuda_peak(work) if clips.device.type == "cuda" else None
    if bench_model.is_compiled:
        return PassCounts(
            kernels=None, bytes_moved=None, permute_copies=None, saved_bytes=None, peak_bytes=peak
        )
    if kind == FORWARD:
        work()  # makes what an evaluation then keeps
    with saved_bytes() as saved:
        traffic = measure_traffic(work)
    return PassCounts(
        kernels=traffic.kernels,
        bytes_moved=traffic.bytes_moved,
        permute_copies=len(traffic.permute_copies),
        saved_bytes=saved() if kind == TRAIN else None,
        peak_bytes=traffic.peak_bytes if peak is None else peak,
    )


def count_flops(bench_model: BenchModel, kind: str, clips: Tensor) -> int:
    """Floating-point operations (two a multiply-add) of the products and convolutions of a pass; those of a
    training step are three times those of its forward pass, for torch counts the gradients of convolutions
    with groups as if they had none.
    """
    bench_model.net.eval()
    with FlopCounterMode(display=False) as counter:
        # With a graph: without one, it cannot follow a parameter that modules hand on, as tokens.
        bench_model.call(clips)
    return counter.get_total_flops() * (3 if kind == TRAIN else 1)


def _cuda_peak(work: Callable[[], object]) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()
