"""The optimiser's share of a step, next to the ways in which torch could take it."""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from slowfast_mlp.apps import timing
from slowfast_mlp.benchmarks.device_timer import primary_sec, timer_for
from slowfast_mlp.benchmarks.tables import Table, load_average, spread_cells

NUM_STEPS = 5  # of a pass
DEFAULT, FOREACH, OURS = "AdamW, torch's default", "AdamW, foreach", "ours"


def optimizer_table(
    name: str, model: nn.Module, ours: torch.optim.Optimizer, *, num_rounds: int, device: torch.device
) -> Table:
    """Steps of `ours`, which is of the parameters of `model`, and of others over copies of these."""
    workloads = {
        DEFAULT: _make_steps(copy.deepcopy(model), torch.optim.AdamW),
        FOREACH: _make_steps(copy.deepcopy(model), partial(torch.optim.AdamW, foreach=True)),
        OURS: _make_steps(model, lambda _: ours),
    }
    costs = timing.measure(workloads, num_rounds=num_rounds, cost=timer_for(device))
    seconds = {
        name: [primary_sec(cost, device) / NUM_STEPS for cost in passed] for name, passed in costs.items()
    }
    rows = []
    for subject, taken in seconds.items():
        ms = timing.summarize([1000 * value for value in taken])
        rows.append((subject, ms.median, *spread_cells(ms), timing.speedup(taken, seconds[DEFAULT]).median))
    count = sum(parameter.numel() for parameter in model.parameters())
    return Table(
        title=f"Optimiser: {name}, {count / 1e6:.1f} M parameters in {len(list(model.parameters()))} tensors",
        note=f"Of a step alone, the gradients being there. Load average after it: {load_average()}.",
        columns=("optimiser", "ms/step", "p25-p75", "spread %", "x default"),
        rows=rows,
    )


def _make_steps(
    model: nn.Module, make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
) -> Callable[[], None]:
    """Steps with the same random gradient, which is there before; the state is made by a first one."""
    parameters = list(model.parameters())
    optimizer = make_optimizer(parameters)
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()

    def steps() -> None:
        for _ in range(NUM_STEPS):
            optimizer.step()

    return steps
