"""Evaluation: scores of all views of all videos of a list, and the accuracy from them."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from slowfast_mlp.distributed.process_group import gather_objects
from slowfast_mlp.engine.metrics import VideoScores, top_k_correct
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.prefetch import on_device

# Scores that are summed over the views of a video, from logits [N, K].
ENSEMBLES: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda logits: logits,
    "probs": lambda logits: logits.softmax(dim=1),
}


@dataclass(frozen=True, kw_only=True)
class EvalModel:
    """A model to evaluate: `ensemble` is a key of ENSEMBLES; `class_order` [K] is the output of the model for
    every class, if the model has them in another order.
    """

    model: nn.Module
    ensemble: str
    class_order: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Mean scores [V, K] (float64) and number of views [V] of every video, and the failures, sorted by video.
    `ensemble` is the key of ENSEMBLES that the scores were computed with.
    """

    scores: Tensor
    num_views: Tensor
    labels: Tensor
    failures: list[Any]
    ensemble: str

    def accuracy(self, k: int) -> float:
        """Top-k accuracy over all videos in percent; a video without any view counts as wrong."""
        correct = top_k_correct(self.scores, self.labels, k) & (self.num_views > 0)
        return 100 * correct.sum().item() / len(self.labels)

    def accuracy_of_decoded(self, k: int) -> float:
        """Top-k accuracy over the videos with a view, to compare with codebases that leave the others out."""
        seen = self.num_views > 0
        correct = top_k_correct(self.scores, self.labels, k) & seen
        return 100 * correct.sum().item() / max(1, seen.sum().item())

    def confidences(self) -> Tensor:
        """The probability of the best class of every video [V]; meaningless if it has no view."""
        return probabilities(self.scores, self.ensemble).amax(dim=1)

    @property
    def num_decoded(self) -> int:
        """Videos with at least one view."""
        return int((self.num_views > 0).sum())


def probabilities(scores: Tensor, ensemble: str) -> Tensor:
    """Mean scores [..., K] of an ensemble as probabilities: of mean logits the softmax."""
    return scores.softmax(dim=-1) if ensemble == "logits" else scores


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Evaluates models on all views of all videos of a list.

    `loader` gives this rank's share as Views; `device_transform` makes clips [N, 3, T, H, W] of them;
    `labels` [V] are those of all videos; `batch_size` clips go through a model at a time. The scores are the
    same bit for bit for any number of ranks and threads, and whatever other models see the same clips.
    """

    loader: DataLoader
    precision: Precision
    labels: Tensor
    num_classes: int
    views_per_video: int
    batch_size: int
    device_transform: Callable[[Any], Tensor]
    device: torch.device

    def __call__(
        self,
        models: Sequence[EvalModel],
        progress: Callable[[int, int, float], None] = lambda done, total, seconds: None,
    ) -> list[Evaluation]:
        """The evaluation of every model. `progress` is called with the batches done, their total and the
        seconds since the start. Raises RuntimeError if a video was not seen exactly `views_per_video` times.
        """
        for model in models:
            model.model.eval()
        sums = [VideoScores(len(self.labels), self.num_classes) for _ in models]
        failures = []
        score = partial(
            scores_of_views,
            models=models,
            precision=self.precision,
            batch_size=self.batch_size,
            device_transform=self.device_transform,
        )
        started = time.perf_counter()
        for done, (views, scores) in enumerate(_in_order(score, self.loader, self.device), start=1):
            failures.extend(views.failures)
            for of_video, of_views in zip(sums, scores or ()):
                of_video.add(views.videos, of_views)
            progress(done, len(self.loader), time.perf_counter() - started)
        failures = sorted(failure for share in gather_objects(failures) for failure in share)
        return [self._evaluation(of_video, model, failures) for of_video, model in zip(sums, models)]

    def _evaluation(self, scores: VideoScores, model: EvalModel, failures: list[Any]) -> Evaluation:
        """The evaluation of one model from the sums of all ranks."""
        scores.gather(self.device)
        _check_every_view(scores.num_views, failures, self.views_per_video)
        mean = scores.scores / scores.num_views.clamp(min=1).unsqueeze(1)
        mean = mean if model.class_order is None else mean[:, model.class_order]
        return Evaluation(
            scores=mean,
            num_views=scores.num_views,
            labels=self.labels,
            failures=failures,
            ensemble=model.ensemble,
        )


def scores_of_views(
    views: Any,
    *,
    models: Sequence[EvalModel],
    precision: Precision,
    batch_size: int,
    device_transform: Callable[[Any], Tensor],
) -> list[Tensor]:
    """Scores [N, K], on the CPU, of the clips [N, 3, T, S, S] of `views` by every model in eval mode, on
    whose device they are; `batch_size` clips go through a model at a time.
    """
    logits: list[list[Tensor]] = [[] for _ in models]
    with torch.inference_mode(), precision.autocast():
        for clips in views.clips.split(batch_size):
            clips = device_transform(views._replace(clips=clips))
            for model, of_model in zip(models, logits):
                of_model.append(model.model(clips))
    return [
        torch.cat([ENSEMBLES[model.ensemble](part.float()).cpu() for part in of_model])
        for model, of_model in zip(models, logits)
    ]


def _in_order(
    score: Callable[[Any], list[Tensor]], loader: DataLoader, device: torch.device
) -> Iterator[tuple[Any, list[Tensor] | None]]:
    """Batches of the loader with the scores of every model, None for a batch without clips."""
    if device.type != "cpu":
        for views in on_device(loader, device):
            yield views, score(views) if len(views.clips) else None
        return
    num_threads = torch.get_num_threads()
    try:
        yield from _in_threads(score, loader, num_threads)
    finally:
        torch.set_num_threads(num_threads)


def _in_threads(
    score: Callable[[Any], list[Tensor]], loader: DataLoader, num_threads: int
) -> Iterator[tuple[Any, list[Tensor] | None]]:
    """As `_in_order` on a CPU: one thread per batch, and `num_threads` batches at a time.

    A product that several threads share is rounded differently for another number of threads, and so would
    the predictions be. A copy of the context takes `use_reference` along.
    """
    waiting: deque[tuple[Any, Future | None]] = deque()
    with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for views in loader:
            waiting.append(
                (views, pool.submit(copy_context().run, score, views) if len(views.clips) else None)
            )
            if len(waiting) > num_threads:
                yield _scored(*waiting.popleft())
        while waiting:
            yield _scored(*waiting.popleft())


def _scored(views: Any, future: Future | None) -> tuple[Any, list[Tensor] | None]:
    return views, future.result() if future else None


def _check_every_view(num_views: Tensor, failures: list[Any], views_per_video: int) -> None:
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
