"""Batch norm over the batches of all ranks, on every device."""

from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.distributed.process_group import is_in_group, sum_over_ranks


def synchronise_batch_norm(model: nn.Module, where: torch.device) -> None:
    """Makes every batch norm of the model, in place, one over all ranks; names in the state stay."""
    for name, module in list(model.named_modules()):
        if type(module) not in GROUP_NORMS:
            continue
        if where.type == "cuda":
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, nn.SyncBatchNorm.convert_sync_batchnorm(module))
        else:
            module.__class__ = GROUP_NORMS[type(module)]


class OverRanks:
    """The forward pass of a batch norm over the batches of all ranks, where nn.SyncBatchNorm refuses: off
    CUDA.

    In fp32 under autocast, as nn.BatchNorm's own statistics are.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> the same."""
        if not self.training or not is_in_group():
            return super().forward(x)
        values = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        axes = [axis for axis in range(x.ndim) if axis != 1]
        channels = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        count = values.new_tensor([x.numel() / x.shape[1]])
        sums = _SumOverRanks.apply(torch.cat([values.sum(axes), count]))
        mean = sums[:-1] / sums[-1]
        centred = values - mean.reshape(channels)
        variance = _SumOverRanks.apply(centred.square().sum(axes)) / sums[-1]
        with torch.no_grad():
            unbiased = variance * sums[-1] / (sums[-1] - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.reshape(channels) + self.bias.reshape(channels)).to(x.dtype)


class GroupBatchNorm2d(OverRanks, nn.BatchNorm2d):
    """Batch norm of images over all ranks."""


class GroupBatchNorm3d(OverRanks, nn.BatchNorm3d):
    """Batch norm of clips over all ranks."""


GROUP_NORMS = {nn.BatchNorm2d: GroupBatchNorm2d, nn.BatchNorm3d: GroupBatchNorm3d}


class _SumOverRanks(torch.autograd.Function):
    """Sum over ranks whose gradient is the sum over ranks of the gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return sum_over_ranks(values.clone())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_ranks(grad.contiguous().clone())
