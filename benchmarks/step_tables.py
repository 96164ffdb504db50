"""Tables of the section `step`."""

from slowfast_mlp.apps import timing
from slowfast_mlp.benchmarks.tables import Table, load_average, spread_cells

BARE, OURS = "bare loop", "training loop"
TARGET_OVERHEAD_PERCENT = 2.0


def _loops_table(
    title: str, costs: dict[str, list[timing.CallTime]], num_steps: int, batch: int, *, on_gpu: bool
) -> Table:
    """Both loops; the headline is the processor's time on a CPU and the clock's on a GPU."""
    times = {
        name: [cost.wall_sec if on_gpu else cost.cpu_sec for cost in passed] for name, passed in costs.items()
    }
    rows = []
    for name, seconds in times.items():
        ms = timing.summarize([1000 * value / num_steps for value in seconds])
        wall = timing.summarize([1000 * cost.wall_sec / num_steps for cost in costs[name]])
        overhead = 100 * (1 / timing.speedup(seconds, times[BARE]).median - 1)
        rows.append(
            (
                name,
                ms.median,
                *spread_cells(ms, decimals=1),
                wall.median,
                1000 * batch / ms.median,
                f"{overhead:+.2f}",
            )
        )
    return Table(
        title=title,
        note=f"Goal: at most {TARGET_OVERHEAD_PERCENT:g} % over the bare loop. "
        f"Load average after it: {load_average()}.",
        columns=(
            "loop",
            f"{'wall' if on_gpu else 'CPU'} ms/step",
            "p25-p75",
            "spread %",
            "wall ms/step",
            "clips/s",
            "over bare %",
        ),
        rows=rows,
    )


def _parts_table(title: str, parts: dict[str, float], num_steps: int) -> Table:
    total = sum(parts.values())
    rows = [
        (part, f"{1000 * seconds / num_steps:.3f}", f"{100 * seconds / total:.2f}")
        for part, seconds in parts.items()
    ]
    return Table(
        title=f"Parts: {title}",
        note="Of one pass of the training loop; `sums` holds its lines too.",
        columns=("part", "ms/step", "%"),
        rows=rows,
    )
