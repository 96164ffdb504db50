"""Token mixing by relative position: the gating units of PosMLP (arXiv 2207.07284) and PosMLP-Video
(arXiv 2407.02934).

Axes: B batch, T time, H W space, C channels, G channel groups, V = C/G channels of a group, t h w sides of
a window, N = t·h·w tokens of a window, M all else (clips, windows, V). Groups are interleaved: channel c
belongs to group c mod G. Parameter names are those of the authors' code.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mlp.layers.clip_size import divisors

TABLE_INITS = ("zeros", "trunc_normal")
WindowSize = tuple[int, int, int]


class GatingUnit(nn.Module):
    """The first half of the channels, mixed over tokens by `position`, times the second half.

    With a LearnedPosition of the window (T, 1, 1) this is the paper's PoTGU, of (1, W, W) PoSGU, and of
    (t, W, W) PoSTGU.
    """

    def __init__(self, position: nn.Module):
        super().__init__()
        self.pos = position

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, 2·C] -> [B, T, H, W, C]."""
        u, v = x.chunk(2, dim=-1)
        return self.pos(u) * v


class LearnedPosition(nn.Module):
    """Mixing by a learned table over relative positions (LRPE), one column a channel group.

    P(u)[m, c] = sum over n of table[m - n, c mod G] · u[n, c] + bias[m], for tokens m, n of a window. Without
    softmax or norm. `table_init`: "zeros", as the authors' code in effect does (the unit gives zero at
    first), or "trunc_normal" (std 0.02), which that code intends but never runs.
    """

    def __init__(self, window: WindowSize, num_groups: int, *, table_init: str):
        super().__init__()
        if table_init not in TABLE_INITS:
            raise ValueError(f"MODEL.ARGS.table_init {table_init!r}: use one of {', '.join(TABLE_INITS)}.")
        self.window = window
        self.num_groups = num_groups
        self.token_proj_n_bias = nn.Parameter(torch.zeros(1, math.prod(window), 1))
        num_offsets = math.prod(2 * side - 1 for side in window)
        self.window_relative_position_bias_table = nn.Parameter(torch.zeros(num_offsets, num_groups))
        self.register_buffer("row_of_offset", relative_index(window), persistent=False)
        if table_init == "trunc_normal":
            nn.init.trunc_normal_(self.window_relative_position_bias_table, std=0.02)

    def weights(self) -> Tensor:
        """What output m takes of input n in each group: [G, N, N]."""
        # An embedding: its gradient, too, goes by whole rows, and always adds them in the same order.
        return F.embedding(self.row_of_offset, self.window_relative_position_bias_table).permute(2, 0, 1)

    def forward(self, u: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        return mix_windows(u, self.weights(), self.token_proj_n_bias, self.window)


def mix_windows(u: Tensor, weights: Tensor, bias: Tensor, window: WindowSize) -> Tensor:
    """Mixes the tokens of every window of `u` with `weights` [G, N, N], then adds `bias` [1, N, 1].

    [B, T, H, W, C] -> the same. Groups are the batch of one matrix product; cutting into windows and groups
    is one copy, joining another.
    """
    B, T, H, W, C = u.shape
    t, h, w = window
    G = len(weights)
    cut = u.reshape(B, T // t, t, H // h, h, W // w, w, C // G, G)
    tokens = cut.permute(8, 2, 4, 6, 0, 1, 3, 5, 7)  # G t h w, B T/t H/h W/w V
    mixed = weights @ tokens.reshape(G, t * h * w, -1) + bias  # G N M
    mixed = mixed.reshape(tokens.shape).permute(4, 5, 1, 6, 2, 7, 3, 8, 0)  # B T/t t H/h h W/w w V G
    return mixed.reshape(B, T, H, W, C)


def relative_offsets(window: WindowSize) -> Tensor:
    """m - n for all tokens m (output) and n (input) of a window, in time, height and width: [3, N, N]."""
    places = torch.stack(torch.meshgrid(*(torch.arange(side) for side in window), indexing="ij"))
    places = places.flatten(1)  # 3 N, tokens in raster order
    return places[:, :, None] - places[:, None, :]


def relative_index(window: WindowSize) -> Tensor:
    """The row of the table for every pair of tokens m, n: [N, N]; the last axis of the window is fastest."""
    index = torch.zeros((), dtype=torch.int64)
    for side, offset in zip(window, relative_offsets(window)):
        index = index * (2 * side - 1) + offset + side - 1
    return index


def check_groups(num_groups: tuple[int, ...], mixed_dims: tuple[int, ...]) -> None:
    """Raises ValueError unless the groups of every stage divide the width that is mixed there."""
    for stage, (groups, dim) in enumerate(zip(num_groups, mixed_dims), start=1):
        if dim % groups:
            raise ValueError(
                f"MODEL.ARGS.num_groups {list(num_groups)}: {groups} in stage {stage} does not divide the "
                f"{dim} channels that are mixed there. Use one of {divisors(dim)}."
            )


def resample_positions(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """`state` with the tables and token biases of every LearnedPosition brought to the model's windows.

    Linear over time, bicubic over space, as stretched as the window is. A table of one frame knows no other
    frames: it keeps its values at time offset 0, and the others are zero, so that a still clip gives the
    answer of one frame. What fits already, or is no table, stays.
    """
    fitted = dict(state)
    for name, unit in model.named_modules():
        if not isinstance(unit, LearnedPosition):
            continue
        bias_name, table_name = (
            f"{name}.{leaf}" for leaf in ("token_proj_n_bias", "window_relative_position_bias_table")
        )
        if bias_name not in state or table_name not in state:
            continue
        bias, table = state[bias_name], state[table_name]
        window = infer_window(bias.shape[1], table.shape[0])
        if window is None or window == unit.window:
            continue
        fitted[bias_name] = _resample_bias(bias, window, unit.window)
        fitted[table_name] = _resample_table(table, window, unit.window)
    return fitted


def infer_window(num_tokens: int, num_offsets: int) -> WindowSize | None:
    """The window (t, W, W) with as many tokens and table rows, or None: (196, 729) is (1, 14, 14)."""
    for side in range(1, math.isqrt(num_tokens) + 1):
        t, rest = divmod(num_tokens, side * side)
        if not rest and (2 * t - 1) * (2 * side - 1) ** 2 == num_offsets:
            return t, side, side
    return None


def _resample_bias(bias: Tensor, old: WindowSize, new: WindowSize) -> Tensor:
    """[1, N, 1] -> [1, N', 1]."""
    return _resize(bias.reshape(*old, 1), new).reshape(1, -1, 1)


def _resample_table(table: Tensor, old: WindowSize, new: WindowSize) -> Tensor:
    """[rows, G] -> [rows', G]."""
    old_sides, (num_times, *new_sides) = ([2 * side - 1 for side in window] for window in (old, new))
    grid = table.reshape(*old_sides, -1)  # t h w G, now sides of the grid of offsets
    if old[0] == 1:
        grid = _resize(grid, (1, *new_sides))
        grid = F.pad(grid, (0, 0, 0, 0, 0, 0, new[0] - 1, new[0] - 1))
    return _resize(grid, (num_times, *new_sides)).flatten(0, 2)


def _resize(grid: Tensor, sides: WindowSize) -> Tensor:
    """[t, h, w, G] -> [t', h', w', G], bicubic over h and w, then linear over t; a side that fits stays."""
    if grid.shape[1:3] != sides[1:]:
        frames = F.interpolate(grid.permute(0, 3, 1, 2), size=sides[1:], mode="bicubic")  # t G h' w'
        grid = frames.permute(0, 2, 3, 1)
    if len(grid) != sides[0]:
        series = grid.flatten(1).t()[None]  # 1 (h' w' G) t
        grid = F.interpolate(series, size=sides[0], mode="linear")[0].t().reshape(*sides, -1)
    return grid
