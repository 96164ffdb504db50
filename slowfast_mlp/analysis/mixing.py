"""What the token mixing of a model does: its weights, and what they do on a clip, as small maps.

A kind of layer is one line in KINDS. Axes: T time, H W space, C channels, G channel groups, S channels of a
group, L places of a chunk, N tokens of a window.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.layers.positional import LearnedPosition
from slowfast_mlp.models.morphmlp import MorphFC, TemporalMorphFC
from slowfast_mlp.models.posmlp import QuadraticPosition
from slowfast_mlp.models.vast import SPACE_STEPS, TIME_STEPS, AffineShift, shift

NAMES_OF_STEPS = dict(
    zip(
        SPACE_STEPS + TIME_STEPS,
        ("from above", "from below", "from the left", "from the right", "from before", "from after"),
    )
)
MAX_PANELS = 16  # of a layer: more groups than these would be too small to see
UNMOVED = "not moved"


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Maps of one layer: `values` [N, H, W] float32 on the CPU with a name for each of N.

    `layer` is its name in the model, `says` what is seen, `rows` and `columns` what the axes are. Where it
    `is_signed`, zero is the middle; otherwise values are 0 or more.
    """

    layer: str
    says: str
    values: Tensor
    names: tuple[str, ...]
    rows: str
    columns: str
    is_signed: bool


def mixing_maps(model: nn.Module, clip: Tensor) -> list[Maps]:
    """The maps of all token-mixing layers that are known, in the order of the model; none of a model without
    such a layer. `clip` [3, T, H, W], normalised, is what gates are looked at on.
    """
    inputs: dict[str, Tensor] = {}
    found = [(name, module) for name, module in model.named_modules() if type(module) in KINDS]

    def keep(name: str) -> Callable[..., None]:
        return lambda _, arguments: inputs.setdefault(name, arguments[0])

    handles = [module.register_forward_pre_hook(keep(name)) for name, module in found]
    model.eval()
    try:
        with torch.inference_mode():
            model(clip[None])
            return [
                Maps(layer=name, **one)
                for name, module in found
                for one in KINDS[type(module)](module, inputs[name])
            ]
    finally:
        for handle in handles:
            handle.remove()


def _chunks(layer: MorphFC, x: Tensor) -> list[dict[str, Any]]:
    """Which place of a chunk an output takes from which, for its branches, and the branches' gates."""
    L = layer.chunk_len
    linears = {"whole map": layer.mlp_h} if layer.whole_map else {"columns": layer.mlp_h, "rows": layer.mlp_w}
    weights = torch.stack([_place_weights(linear.weight, L, L) for linear in linears.values()])
    maps = dict(
        says="Chunk mixing: size of the weights between the places of a chunk, over all channels of a group",
        values=_on_cpu(weights),
        names=tuple(linears),
        rows=f"place that is made, 1 to {L}",
        columns=f"place that is taken, 1 to {L}",
        is_signed=False,
    )
    return [maps, _branch_gates(layer, x)]


def _branch_gates(layer: MorphFC, x: Tensor) -> dict[str, Any]:
    """The softmax weights of the branches on the clip, the channels as a map of about 2 by 1."""
    kept: list[Tensor] = []
    handle = layer.reweight.register_forward_hook(lambda _, __, output: kept.append(output))
    try:
        layer(x)
    finally:
        handle.remove()
    names = ("whole map", "channels") if layer.whole_map else ("columns", "rows", "channels")
    gates = kept[0][0].reshape(-1, layer.num_branches).softmax(dim=-1).t()  # branches C
    means = gates.mean(dim=1).tolist()
    return dict(
        says="Share of each branch in the sum, channel by channel, on this clip",
        values=_on_cpu(_folded(gates)),
        names=tuple(f"{name}: {100 * mean:.0f} %" for name, mean in zip(names, means)),
        rows="channels, row by row",
        columns="channels",
        is_signed=False,
    )


def _time(layer: TemporalMorphFC, x: Tensor) -> list[dict[str, Any]]:
    """Which time an output takes from which."""
    T = x.shape[1]
    return [
        dict(
            says="Maps over time: size of the weights between times, over all channels of a group",
            values=_on_cpu(_place_weights(layer.mlp_t.weight, T, T)[None]),
            names=("all groups",),
            rows=f"time that is made, 1 to {T}",
            columns=f"time that is taken, 1 to {T}",
            is_signed=False,
        )
    ]


def _place_weights(weight: Tensor, num_out: int, num_in: int) -> Tensor:
    """The root of the mean square over channels, [out · S, in · S] -> [out, in]: place by place."""
    blocks = weight.float().reshape(num_out, len(weight) // num_out, num_in, -1)
    return blocks.square().mean(dim=(1, 3)).sqrt()


def _offsets(layer: LearnedPosition, _: Tensor) -> list[dict[str, Any]]:
    """The table of every group over relative positions, taken less made."""
    t, h, w = layer.window
    table = layer.window_relative_position_bias_table.float()  # rows G
    # Rows are offsets made less taken, from low to high: turned round, the map shows where is taken from.
    grid = table.t().reshape(-1, 2 * t - 1, 2 * h - 1, 2 * w - 1).flip(1, 2, 3)  # G t h w
    shared = dict(is_signed=True, names=tuple(f"group {g + 1}" for g in range(len(grid))))
    if t > 1 and h == w == 1:
        says = (
            f"Relative position maps over time: what a time takes of the {t - 1} before to the {t - 1} after"
        )
        columns = f"time taken from, {1 - t} to {t - 1} (0 is its own)"
        lines = _on_cpu(grid.flatten(1))[None]  # 1 G t: a row a group
        return [
            dict(
                says=says, values=lines, rows="groups", columns=columns, names=("all groups",), is_signed=True
            )
        ]
    says = "Relative position maps: what a place takes of its window, in each channel group"
    rows, columns = f"height, {1 - h} to {h - 1}", f"width, {1 - w} to {w - 1} (0 is its own place)"
    if t > 1:
        says += f", at the same time (of {2 * t - 1} time offsets)"
    maps = _on_cpu(grid[:, t - 1])
    return [_some_panels(dict(says=says, values=maps, rows=rows, columns=columns, **shared))]


def _quadratic(layer: QuadraticPosition, _: Tensor) -> list[dict[str, Any]]:
    """What the place in the middle of a window takes of all, in every group."""
    t, h, w = layer.window
    middle = (h // 2) * w + w // 2
    maps = layer.weights()[:, middle].float().reshape(-1, t, h, w)[:, 0]
    return [
        _some_panels(
            dict(
                says="Relative position maps: what the middle of a window takes of it, in each channel group",
                values=_on_cpu(maps),
                names=tuple(f"group {g + 1}" for g in range(len(maps))),
                rows=f"height, 1 to {h}",
                columns=f"width, 1 to {w}",
                is_signed=False,
            )
        )
    ]


def _shifts(layer: AffineShift, x: Tensor) -> list[dict[str, Any]]:
    """How much arrives at every place from each direction, after the gate, and the gates themselves."""
    values = layer.value(x)
    moved = shift(values, layer.fold, layer.steps)
    gates = None
    if layer.gate is not None:
        seen = values.mean(dim=(1, 2, 3), keepdim=True) if layer.is_pooled else values
        gates = layer.gate(seen).sigmoid()
        moved = moved * gates
    names = [*(NAMES_OF_STEPS[step] for step in layer.steps), UNMOVED]
    sizes = [layer.fold] * len(layer.steps) + [values.shape[-1] - layer.fold * len(layer.steps)]
    groups = [group for group in moved[0].split(sizes, dim=-1) if group.shape[-1]]  # T H W C
    arriving = torch.stack([group.float().square().mean(dim=(0, 3)).sqrt() for group in groups])  # N H W
    maps = dict(
        says="Shifts: how much arrives at every place from each direction, after the gate, on this clip",
        values=_on_cpu(arriving),
        names=tuple(names[: len(groups)]),
        rows="height",
        columns="width",
        is_signed=False,
    )
    return [maps] if gates is None else [maps, _gates(gates, names[: len(groups)], sizes)]


def _gates(gates: Tensor, names: list[str], sizes: list[int]) -> dict[str, Any]:
    """The gates of the groups, [1, T, H, W, C] as maps over space, [1, 1, 1, 1, C] channel by channel."""
    groups = [group for group in gates[0].float().split(sizes, dim=-1) if group.shape[-1]]
    means = [float(group.mean()) for group in groups]
    is_pooled = gates.shape[1:4].numel() == 1
    if is_pooled:
        width = max(group.shape[-1] for group in groups)
        rows = [
            nn.functional.pad(group.flatten(), (0, width - group.shape[-1]), value=torch.nan)
            for group in groups
        ]
        values, panels = torch.stack(rows)[None], ("all directions",)
        axes = dict(rows="; ".join(names), columns=f"channels of a direction, 1 to {width}")
    else:
        values = torch.stack([group.mean(dim=(0, 3)) for group in groups])
        panels = tuple(f"{name}: {mean:.2f}" for name, mean in zip(names, means))
        axes = dict(rows="height", columns="width")
    return dict(
        says="Gates on this clip, 0 (closed) to 1 (open)",
        values=_on_cpu(values),
        names=panels,
        is_signed=False,
        **axes,
    )


def _some_panels(maps: dict[str, Any]) -> dict[str, Any]:
    """Of many groups some, evenly chosen, and a word about it."""
    num_groups = len(maps["values"])
    if num_groups <= MAX_PANELS:
        return maps
    chosen = torch.linspace(0, num_groups - 1, MAX_PANELS).round().long().tolist()
    return maps | dict(
        says=f"{maps['says']} ({MAX_PANELS} of {num_groups} groups)",
        values=maps["values"][chosen],
        names=tuple(maps["names"][group] for group in chosen),
    )


def _folded(rows: Tensor) -> Tensor:
    """Rows [N, C] as maps [N, H, W] with H the divisor of C that is nearest to a square lying on its side."""
    C = rows.shape[1]
    height = max(side for side in range(1, C + 1) if C % side == 0 and side * side <= C)
    return rows.reshape(len(rows), height, C // height)


def _on_cpu(values: Tensor) -> Tensor:
    return values.detach().float().cpu()


KINDS: dict[type[nn.Module], Callable[..., list[dict[str, Any]]]] = {
    MorphFC: _chunks,
    TemporalMorphFC: _time,
    LearnedPosition: _offsets,
    QuadraticPosition: _quadratic,
    AffineShift: _shifts,
}
