"""The two-layer perceptron over channels."""

from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear, GELU (the exact erf one), Linear over the last axis: [..., dim] -> [..., out_dim]."""

    def __init__(self, dim: int, hidden_dim: int, out_dim: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> [..., out_dim]."""
        return self.fc2(self.act(self.fc1(x)))
