"""A batch that is too large for the device: its gradient in parts."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mlp.distributed.data_parallel import without_sharing
from slowfast_mlp.engine.precision import Precision


def backward_in_parts(
    model: nn.Module, clips: Tensor, targets: Tensor, precision: Precision, *, num_parts: int
) -> tuple[Tensor, Tensor]:
    """Adds the gradient of the mean loss over the batch to that of the parameters.

    Clips [B, 3, T, H, W] and targets [B, K] go through the model in `num_parts` parts of nearly equal size,
    one after the other; ranks share gradients with the last alone. Returns the loss [] and the logits [B, K],
    both without their graph. Only batch norms see that there are parts.
    """
    loss, logits = torch.zeros((), device=clips.device), []
    parts = list(zip(clips.tensor_split(num_parts), targets.tensor_split(num_parts)))
    for number, (part, part_targets) in enumerate(parts, start=1):
        with nullcontext() if number == num_parts else without_sharing(model):
            with precision.autocast():
                part_logits = model(part)  # b K
            # fp32: the log-sum-exp over 400 classes loses the small ones in half precision.
            share = len(part) / len(clips)
            part_loss = F.cross_entropy(part_logits.float(), part_targets) * share
            precision.backward(part_loss)
        loss += part_loss.detach()
        logits.append(part_logits.detach())
    return loss, torch.cat(logits)
