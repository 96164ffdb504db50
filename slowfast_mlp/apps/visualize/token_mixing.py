"""What the token mixing of a model does: its weights, and what they do on a clip, as small maps.

A kind of layer is one line in KINDS. Axes: T time, H W space, C channels, G channel groups, S channels of a
group, L places of a chunk, N tokens of a window.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mlp.kernels.fused import use_reference
from slowfast_mlp.layers.affine_shift import SPATIAL_SHIFTS, TEMPORAL_SHIFTS, AffineShift, shift
from slowfast_mlp.layers.quadratic_position import QuadraticPosition
from slowfast_mlp.layers.relative_position import LearnedPosition
from slowfast_mlp.models.morphmlp import MorphFC, TemporalMorphFC

SHIFT_NAMES = dict(
    zip(
        SPATIAL_SHIFTS + TEMPORAL_SHIFTS,
        ("from above", "from below", "from the left", "from the right", "from before", "from after"),
    )
)
MAX_PANELS = 16  # of a layer: more groups than these would be too small to see
UNSHIFTED = "not moved"


@dataclass(frozen=True, kw_only=True)
class LayerMaps:
    """LayerMaps of one layer: `values` [N, H, W] float32 on the CPU with a name for each of N.

    `layer` is its name in the model, `description` what is seen, `rows` and `columns` are the axes. Where it
    `is_signed`, zero is the middle; otherwise values are 0 or more.
    """

    layer: str
    description: str
    values: Tensor
    names: tuple[str, ...]
    rows: str
    columns: str
    is_signed: bool


def mixing_maps(model: nn.Module, clip: Tensor) -> list[LayerMaps]:
    """The maps of all token-mixing layers that are known, in the order of the model; none of a model without
    such a layer. `clip` [3, T, H, W], normalised, is what gates are looked at on.
    """
    inputs: dict[str, Tensor] = {}
    found = [(name, module) for name, module in model.named_modules() if type(module) in KINDS]

    def save_input(name: str) -> Callable[..., None]:
        return lambda _, arguments: inputs.setdefault(name, arguments[0])

    handles = [module.register_forward_pre_hook(save_input(name)) for name, module in found]
    model.eval()
    try:
        with torch.inference_mode(), use_reference():
            model(clip[None])
            kinds = ((name, module, KINDS[type(module)]) for name, module in found)
            return [one for name, module, maps_of in kinds for one in maps_of(name, module, inputs.get(name))]
    finally:
        for handle in handles:
            handle.remove()


def _chunk_maps(name: str, layer: MorphFC, x: Tensor) -> list[LayerMaps]:
    """Which place of a chunk an output takes from which, for its branches, and the branches' gates."""
    L = layer.chunk_len
    linears = {"whole map": layer.mlp_h} if layer.whole_map else {"columns": layer.mlp_h, "rows": layer.mlp_w}
    weights = torch.stack([_position_weights(linear.weight, L, L) for linear in linears.values()])
    maps = LayerMaps(
        layer=name,
        description="Chunk mixing: weights between the places of a chunk, over a group's channels",
        values=_on_cpu(weights),
        names=tuple(linears),
        rows=f"place that is made, 1 to {L}",
        columns=f"place that is taken, 1 to {L}",
        is_signed=False,
    )
    return [maps, _branch_gate_maps(name, layer, x)]


def _branch_gate_maps(name: str, layer: MorphFC, x: Tensor) -> LayerMaps:
    """The softmax weights of the branches on the clip, the channels folded to a map."""
    gate_logits: list[Tensor] = []
    handle = layer.reweight.register_forward_hook(lambda _, __, output: gate_logits.append(output))
    try:
        layer(x)
    finally:
        handle.remove()
    branches = ("whole map", "channels") if layer.whole_map else ("columns", "rows", "channels")
    gates = gate_logits[0][0].reshape(-1, layer.num_branches).softmax(dim=-1).t()  # branches C
    means = gates.mean(dim=1).tolist()
    return LayerMaps(
        layer=name,
        description="Share of each branch in the sum, channel by channel, on this clip",
        values=_on_cpu(_fold_to_maps(gates)),
        names=tuple(f"{branch}: {100 * mean:.0f} %" for branch, mean in zip(branches, means)),
        rows="channels, row by row",
        columns="channels",
        is_signed=False,
    )


def _time_maps(name: str, layer: TemporalMorphFC, x: Tensor) -> list[LayerMaps]:
    """Which time an output takes from which."""
    T = x.shape[1]
    maps = LayerMaps(
        layer=name,
        description="Time mixing: size of the weights between times, over all channels of a group",
        values=_on_cpu(_position_weights(layer.mlp_t.weight, T, T)[None]),
        names=("all groups",),
        rows=f"time that is made, 1 to {T}",
        columns=f"time that is taken, 1 to {T}",
        is_signed=False,
    )
    return [maps]


def _position_weights(weight: Tensor, num_out: int, num_in: int) -> Tensor:
    """The root of the mean square over channels, [out · S, in · S] -> [out, in]: place by place."""
    blocks = weight.float().reshape(num_out, len(weight) // num_out, num_in, -1)
    return blocks.square().mean(dim=(1, 3)).sqrt()


def _bias_maps(name: str, layer: LearnedPosition, _: Tensor | None) -> list[LayerMaps]:
    """The table of every group over relative positions, taken less made."""
    t, h, w = layer.window
    table = layer.window_relative_position_bias_table
    # Rows are offsets made less taken, from low to high: turned round, the map shows where is taken from.
    grid = _on_cpu(table.t().reshape(-1, 2 * t - 1, 2 * h - 1, 2 * w - 1).flip(1, 2, 3))  # G t h w
    if t > 1 and h == w == 1:
        return [_temporal_bias_maps(name, grid.flatten(1))]
    description = "Relative position maps: what a place takes of its window, in each channel group"
    maps = LayerMaps(
        layer=name,
        description=description + (f", at the same time (of {2 * t - 1} time offsets)" if t > 1 else ""),
        values=grid[:, t - 1],
        names=_groups(len(grid)),
        rows=f"height, {1 - h} to {h - 1}",
        columns=f"width, {1 - w} to {w - 1} (0 is its own place)",
        is_signed=True,
    )
    return [_limit_panels(maps)]


def _temporal_bias_maps(name: str, lines: Tensor) -> LayerMaps:
    """Tables over time [G, 2·t - 1], a row a group."""
    reach = lines.shape[1] // 2
    return LayerMaps(
        layer=name,
        description=f"Relative position maps over time: what a time takes, {reach} before to {reach} after",
        values=lines[None],
        names=("all groups",),
        rows="groups",
        columns=f"time taken from, {-reach} to {reach} (0 is its own)",
        is_signed=True,
    )


def _quadratic_maps(name: str, layer: QuadraticPosition, _: Tensor | None) -> list[LayerMaps]:
    """What the place in the middle of a window takes of all, in every group."""
    _, h, w = layer.window  # of one frame
    weights = layer.weights()[:, (h // 2) * w + w // 2]  # G N
    maps = LayerMaps(
        layer=name,
        description="Relative position maps: what the middle of a window takes of it, in each channel group",
        values=_on_cpu(weights.reshape(-1, h, w)),
        names=_groups(len(weights)),
        rows=f"height, 1 to {h}",
        columns=f"width, 1 to {w}",
        is_signed=False,
    )
    return [_limit_panels(maps)]


def _groups(number: int) -> tuple[str, ...]:
    return tuple(f"group {group}" for group in range(1, number + 1))


def _shift_maps(name: str, layer: AffineShift, x: Tensor) -> list[LayerMaps]:
    """How much arrives at every place from each direction, after the gate, and the gates themselves."""
    values = layer.value(x)
    shifted = shift(values, layer.fold, layer.shifts)
    gates = None
    if layer.gate is not None:
        gate_input = values.mean(dim=(1, 2, 3), keepdim=True) if layer.is_pooled else values
        gates = layer.gate(gate_input).sigmoid()
        shifted = shifted * gates
    sides = [*(SHIFT_NAMES[step] for step in layer.shifts), UNSHIFTED]
    sizes = [layer.fold] * len(layer.shifts) + [values.shape[-1] - layer.fold * len(layer.shifts)]
    groups = [group for group in shifted[0].split(sizes, dim=-1) if group.shape[-1]]  # T H W C
    arriving = torch.stack([group.float().square().mean(dim=(0, 3)).sqrt() for group in groups])  # N H W
    maps = LayerMaps(
        layer=name,
        description="Shifts: how much arrives at every place from each direction, after the gate",
        values=_on_cpu(arriving),
        names=tuple(sides[: len(groups)]),
        rows="height",
        columns="width",
        is_signed=False,
    )
    return [maps] if gates is None else [maps, _gate_maps(name, gates, sides[: len(groups)], sizes)]


def _gate_maps(name: str, gates: Tensor, sides: list[str], sizes: list[int]) -> LayerMaps:
    """The gates of the groups, [1, T, H, W, C] as maps over space, [1, 1, 1, 1, C] channel by channel."""
    groups = [group for group in _on_cpu(gates[0]).split(sizes, dim=-1) if group.shape[-1]]
    if gates.shape[1:4].numel() > 1:
        values, rows, columns = torch.stack([group.mean(dim=(0, 3)) for group in groups]), "height", "width"
        names = tuple(f"{side}: {float(group.mean()):.2f}" for side, group in zip(sides, groups))
    else:
        width = max(group.shape[-1] for group in groups)
        lines = [F.pad(group.flatten(), (0, width - group.shape[-1]), value=torch.nan) for group in groups]
        values, names = torch.stack(lines)[None], ("all directions",)
        rows, columns = "; ".join(sides), f"channels of a direction, 1 to {width}"
    return LayerMaps(
        layer=name,
        description="Gates on this clip, 0 (closed) to 1 (open)",
        values=values,
        names=names,
        rows=rows,
        columns=columns,
        is_signed=False,
    )


def _limit_panels(maps: LayerMaps) -> LayerMaps:
    """Of many groups some, evenly chosen, and a word about it."""
    num_groups = len(maps.values)
    if num_groups <= MAX_PANELS:
        return maps
    chosen = torch.linspace(0, num_groups - 1, MAX_PANELS).round().long().tolist()
    return dataclasses.replace(
        maps,
        description=f"{maps.description} ({MAX_PANELS} of {num_groups} groups)",
        values=maps.values[chosen],
        names=tuple(maps.names[group] for group in chosen),
    )


def _fold_to_maps(rows: Tensor) -> Tensor:
    """Rows [N, C] as maps [N, H, W] with H the divisor of C that is nearest to a square lying on its side."""
    C = rows.shape[1]
    height = max(side for side in range(1, C + 1) if C % side == 0 and side * side <= C)
    return rows.reshape(len(rows), height, C // height)


def _on_cpu(values: Tensor) -> Tensor:
    return values.detach().float().cpu()


KINDS: dict[type[nn.Module], Callable[..., list[LayerMaps]]] = {
    MorphFC: _chunk_maps,
    TemporalMorphFC: _time_maps,
    LearnedPosition: _bias_maps,
    QuadraticPosition: _quadratic_maps,
    AffineShift: _shift_maps,
}
