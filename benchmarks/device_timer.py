"""Clocks for work on a device: the processor's on a CPU, events in the queue on a GPU."""

import time
from collections.abc import Callable

import torch

from slowfast_mlp.apps.timing import CallTime, time_call

MIN_CUDA_SEC = 1.0  # of work between two events; less says little of a GPU


def timer_for(device: torch.device) -> Callable[[Callable[[], object]], CallTime]:
    """The measure of a call on the device: on a GPU the mean of as many calls as take MIN_CUDA_SEC."""
    if device.type == "cuda":
        return _time_with_cuda_events
    return time_call


def primary_sec(cost: CallTime, device: torch.device) -> float:
    """The seconds that count: the processor's on a CPU, those of the clock elsewhere."""
    return cost.cpu_sec if device.type == "cpu" else cost.wall_sec


def _time_with_cuda_events(work: Callable[[], object]) -> CallTime:
    cpu, num_calls = time.process_time(), 1
    while True:
        torch.cuda.synchronize()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(num_calls):
            work()
        end.record()
        torch.cuda.synchronize()
        seconds = start.elapsed_time(end) / 1000
        if seconds >= MIN_CUDA_SEC:
            return CallTime((time.process_time() - cpu) / num_calls, seconds / num_calls)
        num_calls = max(num_calls + 1, round(1.2 * num_calls * MIN_CUDA_SEC / max(seconds, 1e-6)))
        cpu = time.process_time()
