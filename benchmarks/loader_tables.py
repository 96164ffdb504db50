"""Tables of the section `data`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slowfast_mlp.apps import timing
from slowfast_mlp.benchmarks import loader_profile
from slowfast_mlp.benchmarks.tables import Table, load_average, spread_cells

REFERENCE, DECODE_ONLY = "plain way", "bare decoder"
COLUMNS = (
    "loader",
    "CPU ms/clip",
    "p25-p75",
    "spread %",
    "wall ms/clip",
    "clips/s/core",
    "x plain",
    "must",
    "aimed",
)


@dataclass(frozen=True, kw_only=True)
class LoaderGroup:
    """Loaders that are measured side by side, all against the one called `baseline`; each pass loads
    `num_clips`.
    """

    title: str
    note: str
    baseline: str
    workloads: dict[str, Callable[[], None]]
    num_clips: int
    targets: Mapping[str, tuple[float, float]]


def _table(group: LoaderGroup, costs: Mapping[str, list[timing.CallTime]]) -> Table:
    base = [cost.cpu_sec for cost in costs[group.baseline]]
    rows = []
    for name, passed in costs.items():
        cpu = [cost.cpu_sec for cost in passed]
        ms = timing.summarize([1000 * seconds / group.num_clips for seconds in cpu])
        wall = timing.summarize([1000 * cost.wall_sec / group.num_clips for cost in passed])
        min_speedup, target_speedup = group.targets.get(name, ("", ""))
        ratio = timing.speedup(cpu, base).median
        rows.append(
            (
                name,
                ms.median,
                *spread_cells(ms),
                wall.median,
                1000 / ms.median,
                ratio,
                min_speedup,
                target_speedup,
            )
        )
    note = f"{group.note} Load average after it: {load_average()}."
    return Table(title=group.title, note=note, columns=COLUMNS, rows=rows)


def _stage_table(title: str, workloads: Mapping[str, Callable[[], None]], num_clips: int) -> Table:
    rows = []
    for name, load in workloads.items():
        load()
        seconds = loader_profile.profile(
            load, loader_profile.REFERENCE if name == REFERENCE else loader_profile.OURS
        ).seconds
        rows.append((name, *(f"{1000 * part / num_clips:.2f}" for part in seconds.values())))
    note = (
        "CPU ms a clip, from a profile, which slows small functions down. `augment` holds the way to Pillow."
    )
    return Table(
        title=f"Stages: {title}",
        note=note,
        columns=("loader", *loader_profile.OURS, loader_profile.REST),
        rows=rows,
    )
