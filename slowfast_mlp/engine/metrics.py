"""Targets, top-k accuracy, scores summed over views, and the best validation."""

import torch
from torch import Tensor

from slowfast_mlp.distributed.process_group import sum_over_ranks


def soft_targets(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Labels [B] -> targets [B, K]: 1 - smoothing on the label, plus `smoothing` spread over all classes."""
    targets = torch.full((len(labels), num_classes), smoothing / num_classes, device=labels.device)
    return targets.scatter_(1, labels.unsqueeze(1), 1 - smoothing + smoothing / num_classes)


class VideoScores:
    """Scores [V, K] of every video, summed over its views in float64, so that the order does not matter."""

    def __init__(self, num_videos: int, num_classes: int):
        self.scores = torch.zeros(num_videos, num_classes, dtype=torch.float64)
        self.num_views = torch.zeros(num_videos, dtype=torch.int64)

    def add(self, videos: Tensor, scores: Tensor) -> None:
        """Adds scores [N, K] of views to their videos [N]."""
        self.scores.index_add_(0, videos, scores.double())
        self.num_views.index_add_(0, videos, torch.ones_like(videos))

    def gather(self, device: torch.device) -> None:
        """Sums over ranks, through `device`. A video is on one rank only, so only zeros are added."""
        through = torch.device("cpu") if device.type == "mps" else device
        self.scores = sum_over_ranks(self.scores.to(through)).cpu()
        self.num_views = sum_over_ranks(self.num_views.to(through)).cpu()


def top_k_correct(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the label is among the k highest scores, [V] bool; of equal scores the lower class wins."""
    k = min(k, scores.shape[1])
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return (order == labels.unsqueeze(1)).any(dim=1)


class BestValidation:
    """The highest top-1 of the validations so far and its epoch; None before the first."""

    def __init__(self):
        self.top1: float | None = None
        self.epoch: int | None = None

    def add(self, top1: float, *, epoch: int) -> bool:
        """Whether the validation after `epoch` epochs is better than all before; a tie is not."""
        if self.top1 is not None and top1 <= self.top1:
            return False
        self.top1, self.epoch = top1, epoch
        return True

    def state_dict(self) -> dict[str, float | int | None]:
        """Plain values."""
        return {"top1": self.top1, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, float | int | None]) -> None:
        """Restores what `state_dict` returned."""
        self.top1, self.epoch = state["top1"], state["epoch"]
