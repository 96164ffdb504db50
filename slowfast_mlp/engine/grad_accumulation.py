"""Gradient accumulation for a batch that is too large for the device."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mlp.distributed.data_parallel import no_sync
from slowfast_mlp.engine.precision import Precision


def backward_in_parts(
    model: nn.Module, clips: Tensor, targets: Tensor, precision: Precision, *, accumulate_steps: int
) -> tuple[Tensor, Tensor]:
    """Adds the gradient of the mean loss over the batch to the gradients of the parameters.

    Clips [B, 3, T, H, W] and targets [B, K] go through the model in `accumulate_steps` parts of nearly equal
    size; ranks all-reduce gradients with the last part only. Returns the loss [] and the logits [B, K], both
    detached. Only batch norms see that there are parts.
    """
    loss, logits = torch.zeros((), device=clips.device), []
    parts = list(zip(clips.tensor_split(accumulate_steps), targets.tensor_split(accumulate_steps)))
    for number, (part, part_targets) in enumerate(parts, start=1):
        with nullcontext() if number == accumulate_steps else no_sync(model):
            with precision.autocast():
                part_logits = model(part)  # b K
            # fp32: the log-sum-exp over 400 classes loses the small ones in half precision.
            share = len(part) / len(clips)
            part_loss = F.cross_entropy(part_logits.float(), part_targets) * share
            precision.backward(part_loss)
        loss += part_loss.detach()
        logits.append(part_logits.detach())
    return loss, torch.cat(logits)
