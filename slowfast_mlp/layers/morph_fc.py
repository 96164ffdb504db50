"""The mixers of MorphMLP (arXiv 2111.12527): chunk-wise fully connected layers over space and time.

Axes: B batch, T time, H W space, N = H·W tokens of a frame, C channels, G channel groups, S = C/G channels of
a group, L places in a chunk, M chunks of a frame. Parameter names are those of the authors' code.
"""

from torch import Tensor, nn

from slowfast_mlp.layers.mlp import Mlp

TEMPORAL_INITS = ("official", "untied")


class MorphFC(nn.Module):
    """Chunk-wise mixing over height and width (official MorphFC_S), or over the whole map (official
    MorphFC_S2).

    A frame's tokens are cut into chunks of `chunk_len` places and the channels into as many contiguous
    groups; one shared Linear(dim, dim) sees, for a chunk and a group, all places and all channels of that
    group. Branches over rows, columns (and plain channels) are summed with softmax weights that are computed
    once a clip.

    With `whole_map` there is one spatial branch in raster order and no `mlp_w`; a map of several chunks is
    cut with strides, as officially (at one chunk the order of cutting does not show).
    """

    def __init__(self, dim: int, chunk_len: int, *, whole_map: bool):
        super().__init__()
        self.chunk_len = chunk_len
        self.whole_map = whole_map
        self.num_branches = 2 if whole_map else 3
        self.mlp_h = nn.Linear(dim, dim)
        if not whole_map:
            self.mlp_w = nn.Linear(dim, dim)
        self.mlp_c = nn.Linear(dim, dim)
        self.reweight = Mlp(dim, dim // 4, dim * self.num_branches)
        self.proj = nn.Linear(dim, dim)
        self.orders = ("strided",) if whole_map else ("columns", "rows")

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        if self.whole_map:
            branches = [self._mix_strided(x), self.mlp_c(x)]
        else:
            columns = self._mix_rows(
                x.transpose(2, 3), self.mlp_h
            )  # B T W H C: a column is a row of the transpose
            branches = [columns.transpose(2, 3), self._mix_rows(x, self.mlp_w), self.mlp_c(x)]
        pooled = sum(branches).mean(dim=(1, 2, 3))  # B C: one gate for all frames of a clip
        gates = self.gates(self.reweight(pooled))[:, :, None, None, None]  # branch B 1 1 1 C
        return self.proj(sum(gate * branch for gate, branch in zip(gates, branches)))

    def gates(self, logits: Tensor) -> Tensor:
        """[B, C·branch], branches innermost -> the weights of the branches [branch, B, C], of sum 1."""
        return logits.unflatten(-1, (-1, self.num_branches)).softmax(dim=-1).permute(2, 0, 1)

    def _mix_rows(self, x: Tensor, linear: nn.Linear) -> Tensor:
        """Chunks of neighbouring tokens in raster order: token n = chunk·L + place. [B, T, H, W, C] -> the
        same.
        """
        B, T, H, W, C = x.shape
        L = self.chunk_len
        chunks = x.reshape(B * T, H * W // L, L, L, C // L)  # BT M L G S, G = L
        chunks = chunks.transpose(2, 3).reshape(B * T, H * W // L, L, C)  # BT M G (L S)
        mixed = linear(chunks).reshape(B * T, H * W // L, L, L, C // L)  # BT M G L S
        return mixed.transpose(2, 3).reshape(B, T, H, W, C)

    def _mix_strided(self, x: Tensor) -> Tensor:
        """Chunks of tokens a stride apart: token n = place·M + chunk. [B, T, H, W, C] -> the same."""
        B, T, H, W, C = x.shape
        L = self.chunk_len
        chunks = x.reshape(B * T, L, H * W // L, L, C // L)  # BT L M G S, G = L
        chunks = chunks.permute(0, 2, 3, 1, 4).reshape(B * T, H * W // L, L, C)  # BT M G (L S)
        mixed = self.mlp_h(chunks).reshape(B * T, H * W // L, L, L, C // L)  # BT M G L S
        return mixed.permute(0, 3, 1, 2, 4).reshape(B, T, H, W, C)


class TemporalMorphFC(nn.Module):
    """Mixing of all T positions of one place, channel group by channel group (official MorphFC_T).

    `init`: "official" sets mlp_t to zero and proj to ones. The output is zero at first, and the S channels of
    a group get the same gradient for ever, so only T of the T·S outputs of mlp_t ever differ. "untied" draws
    mlp_t (truncated normal, std 0.02) and sets proj to zero: the same zero output at first, without the tie.
    """

    def __init__(self, dim: int, *, num_positions: int, num_groups: int, init: str):
        super().__init__()
        if init not in TEMPORAL_INITS:
            raise ValueError(f"MODEL.ARGS.temporal_init {init!r}: use one of {', '.join(TEMPORAL_INITS)}.")
        self.num_groups = num_groups
        mixed_dim = num_positions * dim // num_groups
        self.mlp_t = nn.Linear(mixed_dim, mixed_dim)
        self.proj = nn.Linear(dim, dim)
        self.init = init

    def reset_parameters(self) -> None:
        """Sets the start of training that the class describes."""
        nn.init.zeros_(self.mlp_t.bias)
        nn.init.zeros_(self.proj.bias)
        if self.init == "official":
            nn.init.zeros_(self.mlp_t.weight)
            nn.init.ones_(self.proj.weight)
        else:
            nn.init.trunc_normal_(self.mlp_t.weight, std=0.02)
            nn.init.zeros_(self.proj.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, H, W, C]."""
        B, T, H, W, C = x.shape
        G = self.num_groups
        groups = x.reshape(B, T, H * W, G, C // G)  # B T N G S
        groups = groups.permute(0, 2, 3, 1, 4).reshape(B, H * W, G, T * C // G)  # B N G (T S)
        mixed = self.mlp_t(groups).reshape(B, H * W, G, T, C // G)  # B N G T S
        return self.proj(mixed.permute(0, 3, 1, 2, 4).reshape(B, T, H, W, C))
