"""Batch norm over the batches of all ranks, on every device.

torch's nn.SyncBatchNorm refuses CPUs, and on CUDA makes the host wait in every norm.
"""

from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.distributed.process_group import is_in_group, sum_over_ranks


def convert_sync_batch_norm(model: nn.Module) -> None:
    """Replaces the batch norms of a model that was just built by synchronized ones; state names stay."""
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if type(norm) in SYNCHRONIZED:
                setattr(parent, name, SYNCHRONIZED[type(norm)].like(norm))


class _OverRanks:
    """The forward pass of a batch norm over the batches of all ranks.

    In fp32 under autocast, as are the statistics of nn.BatchNorm.
    """

    @classmethod
    def like(cls, norm: nn.Module) -> nn.Module:
        """A norm with the parameters and running statistics of another, on its device."""
        with torch.device("meta"):
            made = cls(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        made.load_state_dict(norm.state_dict(keep_vars=True), assign=True)
        return made.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> the same."""
        if not self.training or not is_in_group():
            return super().forward(x)
        values = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        axes = [axis for axis in range(x.ndim) if axis != 1]
        channels = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        count = values.new_full((1,), x.numel() / x.shape[1])  # made on the device: no copy to wait for
        sums = _SumOverRanks.apply(torch.cat([values.sum(axes), count]))
        mean = sums[:-1] / sums[-1]
        centered = values - mean.reshape(channels)
        variance = _SumOverRanks.apply(centered.square().sum(axes)) / sums[-1]
        with torch.no_grad():
            unbiased = variance * sums[-1] / (sums[-1] - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centered * scale.reshape(channels) + self.bias.reshape(channels)).to(x.dtype)


class SyncBatchNorm2d(_OverRanks, nn.BatchNorm2d):
    """Batch norm of images over all ranks."""


class SyncBatchNorm3d(_OverRanks, nn.BatchNorm3d):
    """Batch norm of clips over all ranks."""


SYNCHRONIZED = {nn.BatchNorm2d: SyncBatchNorm2d, nn.BatchNorm3d: SyncBatchNorm3d}


class _SumOverRanks(torch.autograd.Function):
    """Sum over ranks whose gradient is the sum over ranks of the gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return sum_over_ranks(values.clone())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_ranks(grad.contiguous().clone())
