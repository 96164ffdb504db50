"""A model by its reference implementation: what fused kernels are measured against."""

import copy

from torch import Tensor, nn

from slowfast_mlp.kernels.fused import use_reference


class ReferenceModel(nn.Module):
    """A copy of `model` that computes by its own equations, without fused kernels."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = copy.deepcopy(model)

    def forward(self, x: Tensor) -> Tensor:
        """Clips [B, 3, T, H, W] -> logits [B, K]."""
        with use_reference():
            return self.model(x)
