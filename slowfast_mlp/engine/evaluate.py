"""Evaluation: all views of all videos of a list, each once, into one accuracy."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.distributed.process_group import gather_objects
from slowfast_mlp.engine.metrics import VideoScores, top_k_correct
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.prefetch import on_device

# What is added up over the views of a video, from logits [N, K].
ENSEMBLES: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda logits: logits,
    "probs": lambda logits: logits.softmax(dim=1),
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model to evaluate: `ensemble` is a key of ENSEMBLES; `class_order` [K] gives for every class the
    output of the model that stands for it, where that is not the one of the same number.
    """

    model: nn.Module
    ensemble: str
    class_order: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Mean scores [V, K] (float64) of how many views of every video; the failures, by video. The scores are
    those that `ensemble`, a key of ENSEMBLES, names.
    """

    scores: Tensor
    num_views: Tensor
    labels: Tensor
    failures: list[Any]
    ensemble: str

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

    def confidences(self) -> Tensor:
        """The probability of the best class of every video [V]; without meaning where it has no view."""
        return probabilities(self.scores, self.ensemble).amax(dim=1)

    @property
    def num_decoded(self) -> int:
        """Videos with at least one view."""
        return int((self.num_views > 0).sum())


def probabilities(scores: Tensor, ensemble: str) -> Tensor:
    """Mean scores [..., K], those that `ensemble` names, as probabilities: the softmax of mean logits."""
    return scores.softmax(dim=-1) if ensemble == "logits" else scores


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Evaluates models on all views of all videos of one list.

    `loader` gives this rank's share as Views; `labels` [V] are those of all videos. `device_transform` makes
    the clips [N, 3, T, S, S] of Views, and `batch_size` clips pass through a model at a time.
    """

    loader: Iterable[Any]
    labels: Tensor
    num_classes: int
    views_per_video: int
    batch_size: int
    device_transform: Callable[[Any], Tensor]
    precision: Precision
    device: torch.device

    def __call__(
        self, candidates: Sequence[Candidate], *, progress: Callable[[int, int, float], None] | None = None
    ) -> list[Evaluation]:
        """Scores of all videos by every model, bit for bit the same for any number of ranks and threads, and
        whichever other models see the same clips.

        `progress` is called with batches done, their total and the seconds since the start. Raises
        RuntimeError if a video was not seen exactly `views_per_video` times.
        """
        for candidate in candidates:
            candidate.model.eval()
        sums = [VideoScores(len(self.labels), self.num_classes) for _ in candidates]
        failures = []
        score = partial(self._score, candidates=candidates)
        started = time.perf_counter()
        for done, (views, scores) in enumerate(_in_order(score, self.loader, self.device), start=1):
            failures.extend(views.failures)
            for of_video, of_views in zip(sums, scores or ()):
                of_video.add(views.videos, of_views)
            if progress:
                progress(done, len(self.loader), time.perf_counter() - started)
        failures = sorted(failure for share in gather_objects(failures) for failure in share)
        return [
            self._evaluation(of_video, candidate, failures) for of_video, candidate in zip(sums, candidates)
        ]

    def _score(self, views: Any, candidates: Sequence[Candidate]) -> list[Tensor]:
        return scores_of_views(
            views,
            candidates=candidates,
            precision=self.precision,
            batch_size=self.batch_size,
            to_input=self.device_transform,
        )

    def _evaluation(self, scores: VideoScores, candidate: Candidate, failures: list[Any]) -> Evaluation:
        """The mean scores of one model, joined over all ranks."""
        scores.gather(self.device)
        _demand_every_view(scores.num_views, failures, self.views_per_video)
        mean = scores.scores / scores.num_views.clamp(min=1).unsqueeze(1)
        mean = mean if candidate.class_order is None else mean[:, candidate.class_order]
        return Evaluation(
            scores=mean,
            num_views=scores.num_views,
            labels=self.labels,
            failures=failures,
            ensemble=candidate.ensemble,
        )


def scores_of_views(
    views: Any,
    *,
    candidates: Sequence[Candidate],
    precision: Precision,
    batch_size: int,
    to_input: Callable[[Any], Tensor],
) -> list[Tensor]:
    """What every candidate, in eval mode, adds up for the clips [N, 3, T, S, S] of `views`, which are on its
    device: scores [N, K] on the CPU, of `batch_size` clips at a time.
    """
    logits: list[list[Tensor]] = [[] for _ in candidates]
    with torch.inference_mode(), precision.autocast():
        for clips in views.clips.split(batch_size):
            clips = to_input(views._replace(clips=clips))
            for candidate, of_model in zip(candidates, logits):
                of_model.append(candidate.model(clips))
    return [
        torch.cat([ENSEMBLES[candidate.ensemble](part.float()).cpu() for part in of_model])
        for candidate, of_model in zip(candidates, logits)
    ]


def _in_order(
    score: Callable[[Any], list[Tensor]], loader: Iterable[Any], device: torch.device
) -> Iterator[tuple[Any, list[Tensor] | None]]:
    """Batches of the loader with every model's scores, None for a batch without clips.

    On a CPU every batch is one thread's work, as many at a time as there are threads: a product that several
    threads share is rounded differently with their number, and so would the predictions be.
    """
    if device.type != "cpu":
        for views in on_device(loader, device):
            yield views, score(views) if len(views.clips) else None
        return
    num_threads = torch.get_num_threads()
    waiting: deque[tuple[Any, Future | None]] = deque()
    try:
        with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for views in loader:
                waiting.append((views, pool.submit(score, views) if len(views.clips) else None))
                if len(waiting) > num_threads:
                    first, future = waiting.popleft()
                    yield first, future and future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future and future.result()
    finally:
        torch.set_num_threads(num_threads)


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
