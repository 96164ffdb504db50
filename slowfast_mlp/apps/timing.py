"""Measuring several things side by side, and what the figures come to."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

NOISY_PERCENT = 10.0  # spread over which a figure is called noisy


@dataclass(frozen=True)
class Cost:
    """What one pass took: seconds of the processor, over all threads of the process, and seconds passed."""

    cpu_sec: float
    wall_sec: float


def now() -> float:
    """Seconds on a clock of this process."""
    return time.perf_counter()


def cost_of(work: Callable[[], object]) -> Cost:
    """The cost of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall)


def measure(
    subjects: Mapping[str, Callable[[], object]],
    *,
    num_rounds: int,
    cost: Callable[[Callable[[], object]], Cost] = cost_of,
) -> dict[str, list[Cost]]:
    """Costs of every subject, two a round: a round runs all in order and then all in reverse (A B B A), so
    that what slows the machine down for a while slows them alike. Each runs once before, unmeasured.
    """
    for work in subjects.values():
        work()
    costs: dict[str, list[Cost]] = {name: [] for name in subjects}
    for _ in range(num_rounds):
        for name in [*subjects, *reversed(subjects)]:
            costs[name].append(cost(subjects[name]))
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


def summary(figures: list[float]) -> Summary:
    """The summary of figures, at least one; quartiles as between the nearest two figures."""
    if len(figures) == 1:
        return Summary(figures[0], figures[0], figures[0])
    p25, median, p75 = statistics.quantiles(figures, n=4, method="inclusive")
    return Summary(median, p25, p75)


def ratio(costs: list[float], baseline: list[float]) -> Summary:
    """How many times as cheap as the baseline: pass by pass, both of the same round, so that a slow minute
    cancels out.
    """
    return summary([other / own for own, other in zip(costs, baseline, strict=True)])
