"""Evaluation: all views of all videos of a list, each once, into one accuracy."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from slowfast_mlp.engine.distributed import gather_objects
from slowfast_mlp.engine.metrics import VideoScores, top_k_correct
from slowfast_mlp.engine.precision import Precision

# What is added up over the views of a video, from logits [N, K].
ENSEMBLES: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda logits: logits,
    "probs": lambda logits: logits.softmax(dim=1),
}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Mean scores [V, K] (float64) of how many views of every video; the failures, by video."""

    scores: Tensor
    num_views: Tensor
    labels: Tensor
    failures: list[Any]

    def accuracy(self, k: int) -> float:
        """Share of all videos whose label is among the k best; one without any view counts as wrong. In
        percent.
        """
        correct = top_k_correct(self.scores, self.labels, k) & (self.num_views > 0)
        return 100 * correct.sum().item() / len(self.labels)

    def accuracy_of_decoded(self, k: int) -> float:
        """The same over the videos with a view, for comparison with programs that leave the others out."""
        seen = self.num_views > 0
        correct = top_k_correct(self.scores, self.labels, k) & seen
        return 100 * correct.sum().item() / max(1, seen.sum().item())

    @property
    def num_decoded(self) -> int:
        """Videos with at least one view."""
        return int((self.num_views > 0).sum())


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    loader: DataLoader,
    precision: Precision,
    *,
    labels: Tensor,
    num_classes: int,
    views_per_video: int,
    ensemble: str,
    batch_size: int,
    device: torch.device,
    say: Callable[[int, int, float], None] = lambda done, total, seconds: None,
) -> Evaluation:
    """Scores of all videos, the same for any number of ranks.

    The loader gives this rank's share as Views; `labels` [V] are those of all videos; `batch_size` clips go
    through the model at a time; `ensemble` is a key of ENSEMBLES. `say` hears of batches done, their total
    and the seconds since the start. Raises RuntimeError if a video was not seen exactly `views_per_video`
    times.
    """
    model.eval()
    scores = VideoScores(len(labels), num_classes)
    failures = []
    started = time.perf_counter()
    for done, views in enumerate(loader, start=1):
        failures.extend(views.failures)
        for clips, videos in zip(views.clips.split(batch_size), views.videos.split(batch_size)):
            if len(clips) == 0:
                continue
            with precision.autocast():
                logits = model(clips.to(device, non_blocking=True))
            scores.add(videos, ENSEMBLES[ensemble](logits.float()).cpu())
        say(done, len(loader), time.perf_counter() - started)
    scores.gather(device)
    failures = sorted(failure for share in gather_objects(failures) for failure in share)
    _demand_every_view(scores.num_views, failures, views_per_video)
    mean = scores.scores / scores.num_views.clamp(min=1).unsqueeze(1)
    return Evaluation(scores=mean, num_views=scores.num_views, labels=labels, failures=failures)


def _demand_every_view(num_views: Tensor, failures: list[Any], views_per_video: int) -> None:
    accounted = num_views.clone()
    for failure in failures:
        accounted[failure.video] += failure.num_views
    wrong = (accounted != views_per_video).nonzero().flatten().tolist()
    if wrong:
        raise RuntimeError(
            f"{len(wrong)} videos were not seen {views_per_video} times; the first is number {wrong[0]}, "
            f"seen or missed {int(accounted[wrong[0]])} times: the loader's sampler does not give every "
            "video once."
        )
