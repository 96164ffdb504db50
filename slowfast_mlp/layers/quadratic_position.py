"""The generalized quadratic relative position encoding of PosMLP (arXiv 2207.07284).

Axes: B batch, H W space, C channels, G channel groups, N tokens of a window. Parameter names are those of the
authors' code.
"""

import math

import torch
from torch import Tensor, nn

from slowfast_mlp.layers.relative_position import WindowSize, mix_windows, relative_offsets

QUADRATIC_STD = 0.01  # initial std of the centers around 0, and of the spreads around the identity


class QuadraticPosition(nn.Module):
    """Mixing by a Gaussian of the relative position in each channel group (generalized quadratic encoding).

    P(u)[m, c] = sum over n of A[c mod G, m, n] · u[n, c] + bias[m] with A[g, m] the softmax over n of
    -1/2 (d - centre_g)ᵀ L_g (d - centre_g), L = M Mᵀ, M the spreads. d = (n_x - m_x, m_y - n_y): the two
    signs differ in the authors' code, and so in their weights.
    """

    def __init__(self, window: WindowSize, num_groups: int):
        super().__init__()
        self.window = window
        self.num_groups = num_groups
        self.attention_centers = nn.Parameter(QUADRATIC_STD * torch.randn(num_groups, 2))
        spreads = torch.eye(2) + QUADRATIC_STD * torch.randn(num_groups, 2, 2)
        self.attention_spreads = nn.Parameter(spreads)
        self.token_proj_n_bias = nn.Parameter(torch.zeros(1, math.prod(window), 1))
        self.register_buffer("monomials", _monomials(window), persistent=False)

    def weights(self) -> Tensor:
        """What output m takes of input n in each group: [G, N, N]."""
        form = self.attention_spreads @ self.attention_spreads.transpose(1, 2)  # G 2 2
        linear = (form @ self.attention_centers[:, :, None]).squeeze(2)  # G 2
        square = -0.5 * form[:, (0, 1), (0, 1)]  # G 2
        product = -1.0 * form[:, 0, 1:]  # G 1: both halves of the symmetric form
        coefficients = torch.cat([linear, square, product], dim=1)  # G 5
        num_tokens = math.prod(self.window)
        scores = (coefficients @ self.monomials).reshape(-1, num_tokens, num_tokens)  # G N N
        return scores.softmax(dim=-1)

    def forward(self, u: Tensor) -> Tensor:
        """[B, 1, H, W, C] -> [B, 1, H, W, C]."""
        return mix_windows(u, self.weights(), self.token_proj_n_bias, self.window)


def _monomials(window: WindowSize) -> Tensor:
    """x, y, x², y², x·y of d for all tokens m, n: [5, N²]. The constant term cancels in the softmax."""
    _, y, x = relative_offsets(window).flatten(1).float()
    x = -x
    return torch.stack([x, y, x * x, y * y, x * y])
