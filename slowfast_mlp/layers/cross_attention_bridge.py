"""Exchange between the map of a convolutional network and a handful of tokens (Chen et al., CVPR 2022, arXiv
2108.05895): the attention and the dynamic ReLU of Mobile-Former.

Axes: B batch, C channels, T time, H W space, N = T·H·W positions of a clip, M tokens, D their width. Maps are
[B·T, C, H, W], one image a frame; in channels-last memory their positions are a view. "Official" is the
authors' code, whose parameter names these are.
"""

import torch
from torch import Tensor, nn

from slowfast_mlp.kernels import fused
from slowfast_mlp.kernels.dynamic_relu import dynamic_relu
from slowfast_mlp.kernels.token_attention import attend_to_map, attend_to_tokens

NUM_BRIDGE_HEADS = 2
NUM_FORMER_HEADS = 4


class DynamicReLU(nn.Module):
    """max(a1·x, a2·x), the slopes of each channel from token 0: a1 in [0, 2], a2 in [-1, 1].

    All frames of a clip share them. With a last Linear of zero it is ReLU (official HyperFunc and DyReLU).
    """

    def __init__(self, dim: int, token_dim: int):
        super().__init__()
        hidden_dim = token_dim // 4
        self.hyper = nn.Sequential(
            nn.Linear(token_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, 2 * dim), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """[B·T, C, H, W], [B, M, D] -> [B·T, C, H, W]."""
        slopes = 2 * self.hyper(tokens[:, 0])  # B 2C
        first, second = slopes.reshape(tokens.shape[0], 1, -1, 1, 1).chunk(2, dim=2)  # B 1 C 1 1 each
        second = second - 1
        clips = x.unflatten(0, (tokens.shape[0], -1))  # B T C H W
        if fused.enabled():
            return dynamic_relu(clips, first, second).flatten(0, 1)
        return torch.maximum(first * clips, second * clips).flatten(0, 1)


def flatten_map(x: Tensor, num_clips: int) -> Tensor:
    """The map of all frames [B·T, C, H, W] as positions of the clip [B, N, C]."""
    return x.permute(0, 2, 3, 1).reshape(num_clips, -1, x.shape[1])


class MobileToFormer(nn.Module):
    """Tokens look at all positions of the clip; keys and values are the map itself (official Local2Global).

    z' = LayerNorm(z + (g · Attention(z W_q, x, x)) W_o), one softmax over N, with the gate of the official
    code g = 2·hardsigmoid(z W_a); the paper's equation has no gate, its parameter counts have.
    """

    def __init__(self, dim: int, token_dim: int):
        super().__init__()
        self.alpha = nn.Sequential(nn.Linear(token_dim, dim), nn.Hardsigmoid())
        self.q = nn.Linear(token_dim, dim)
        self.proj = nn.Linear(dim, token_dim)
        self.layer_norm = nn.LayerNorm(token_dim)
        self.scale = (dim // NUM_BRIDGE_HEADS) ** -0.5

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """[B·T, C, H, W], [B, M, D] -> tokens [B, M, D]."""
        queries, features = self.scale * self.q(tokens), flatten_map(x, tokens.shape[0])  # B M C, B N C
        if fused.enabled():
            attended = attend_to_map(features, queries, NUM_BRIDGE_HEADS)
        else:
            attended = self._attend(queries, features)
        gate = 2 * self.alpha(tokens)  # B M C
        return self.layer_norm(tokens + self.proj(gate * attended))

    def _attend(self, queries: Tensor, features: Tensor) -> Tensor:
        """Head by head: [B, M, C], [B, N, C] -> [B, M, C]."""
        heads = zip(queries.chunk(NUM_BRIDGE_HEADS, dim=-1), features.chunk(NUM_BRIDGE_HEADS, dim=-1))
        return torch.cat([(query @ key.mT).softmax(dim=-1) @ key for query, key in heads], dim=-1)


class Former(nn.Module):
    """Attention among the tokens, where only queries are projected, and a perceptron (official GlobalBlock);
    both normalised after the residual sum.
    """

    def __init__(self, token_dim: int):
        super().__init__()
        self.ffn = nn.Sequential(
            nn.Linear(token_dim, 2 * token_dim), nn.GELU(), nn.Linear(2 * token_dim, token_dim)
        )
        self.ffn_norm = nn.LayerNorm(token_dim)
        self.q = nn.Linear(token_dim, token_dim)
        self.channel_mlp = nn.Linear(token_dim, token_dim)
        self.layer_norm = nn.LayerNorm(token_dim)
        self.scale = (token_dim // NUM_FORMER_HEADS) ** -0.5

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, M, D] -> [B, M, D]."""
        queries = self._heads(self.scale * self.q(tokens))  # B heads M d
        keys = self._heads(tokens)
        attended = (queries @ keys.mT).softmax(dim=-1) @ keys  # B heads M d
        attended = attended.transpose(1, 2).flatten(2)  # B M D
        tokens = self.layer_norm(tokens + self.channel_mlp(attended))
        return self.ffn_norm(tokens + self.ffn(tokens))

    def _heads(self, x: Tensor) -> Tensor:
        """[B, M, D] -> [B, heads, M, D/heads]."""
        return x.unflatten(2, (NUM_FORMER_HEADS, -1)).transpose(1, 2)


class FormerToMobile(nn.Module):
    """Every position looks at the tokens, queries being the map as it is (official Global2Local).

    x' = x + Attention(x, z W_k, z W_v), one softmax over M.
    """

    def __init__(self, dim: int, token_dim: int):
        super().__init__()
        self.k = nn.Linear(token_dim, dim)
        self.proj = nn.Linear(token_dim, dim)  # the values
        self.scale = (dim // NUM_BRIDGE_HEADS) ** -0.5

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """[B·T, C, H, W], [B, M, D] -> [B·T, C, H, W]."""
        features = flatten_map(x, tokens.shape[0])  # B N C
        keys, values = self.scale * self.k(tokens), self.proj(tokens)  # B M C
        if fused.enabled():
            out = attend_to_tokens(features, keys, values, NUM_BRIDGE_HEADS)
        else:
            out = features + self._attend(features, keys, values)
        return out.reshape(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)  # BT C H W

    def _attend(self, features: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Head by head: [B, N, C], twice [B, M, C] -> [B, N, C]."""
        heads = zip(*(rows.chunk(NUM_BRIDGE_HEADS, dim=-1) for rows in (features, keys, values)))
        return torch.cat([(query @ key.mT).softmax(dim=-1) @ value for query, key, value in heads], dim=-1)
