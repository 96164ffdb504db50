"""Measuring several things side by side, and what the figures come to."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

NOISY_PERCENT = 10.0  # spread over which a figure is called noisy


@dataclass(frozen=True)
class CallTime:
    """What one pass took: seconds of the processor, over all threads of the process, and seconds passed."""

    cpu_sec: float
    wall_sec: float


def now() -> float:
    """Seconds on a clock of this process."""
    return time.perf_counter()


def time_call(work: Callable[[], object]) -> CallTime:
    """The cost of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return CallTime(time.process_time() - cpu, time.perf_counter() - wall)


def measure(
    workloads: Mapping[str, Callable[[], object]],
    *,
    num_rounds: int,
    cost: Callable[[Callable[[], object]], CallTime] = time_call,
) -> dict[str, list[CallTime]]:
    """Costs of every subject, two a round: a round runs all in order and then all in reverse (A B B A), so
    that what slows the machine down for a while slows them alike. Each runs once before, unmeasured.
    """
    for work in workloads.values():
        work()
    costs: dict[str, list[CallTime]] = {name: [] for name in workloads}
    for _ in range(num_rounds):
        for name in [*workloads, *reversed(workloads)]:
            costs[name].append(cost(workloads[name]))
    return costs


@dataclass(frozen=True)
class Summary:
    """The median of some figures and their quartiles; `spread` is what lies between these, in percent of the
    median.
    """

    median: float
    p25: float
    p75: float

    @property
    def spread(self) -> float:
        """In percent."""
        return 100 * (self.p75 - self.p25) / self.median if self.median else 0.0

    @property
    def is_noisy(self) -> bool:
        """Whether the spread is too large to trust the figure."""
        return self.spread > NOISY_PERCENT


def summarize(figures: list[float]) -> Summary:
    """The summary of figures, at least one; quartiles as between the nearest two figures."""
    if len(figures) == 1:
        return Summary(figures[0], figures[0], figures[0])
    p25, median, p75 = statistics.quantiles(figures, n=4, method="inclusive")
    return Summary(median, p25, p75)


def speedup(costs: list[float], baseline: list[float]) -> Summary:
    """How many times as cheap as the baseline: pass by pass, both of the same round, so that a slow minute
    cancels out.
    """
    return summarize([other / own for own, other in zip(costs, baseline, strict=True)])
