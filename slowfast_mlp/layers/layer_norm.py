"""The layer norm of maps."""

import torch
from torch import Tensor, nn

from slowfast_mlp.kernels import fused
from slowfast_mlp.kernels.layer_norm import layer_norm


class LayerNormCL(nn.LayerNorm):
    """Layer norm over the channels of a map, in the type of the map.

    Autocast on a GPU would make it float32, and with the norm that a stage starts with all its residuals:
    fp16 needs its range, bf16 does not, and it takes twice the memory.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        if not fused.enabled() or x.dtype == torch.float16:
            return super().forward(x)
        return layer_norm(x, self.weight, self.bias, self.eps)[0]
