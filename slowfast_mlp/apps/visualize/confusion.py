"""Which classes a test took for which: counts, accuracies a class, the worst pairs and mistakes."""

from typing import NamedTuple

import torch
from torch import Tensor

from slowfast_mlp.apps.visualize.predictions import Predictions


class ConfusedPair(NamedTuple):
    """`count` videos of the class `label` were taken for `predicted`: `share` of those of the label with a
    view.
    """

    label: int
    predicted: int
    count: int
    share: float


class ClassAccuracy(NamedTuple):
    """How many videos of a class there are, with a view or without, and how many were right."""

    label: int
    num_videos: int
    num_correct: int

    @property
    def percent(self) -> float:
        """Right ones in a hundred; a video without a view counts as wrong, as in a test."""
        return 100 * self.num_correct / self.num_videos


def confusion_matrix(predictions: Predictions) -> Tensor:
    """[K, K] int64: videos with a view by label (row) and best class (column)."""
    K, seen = predictions.num_classes, predictions.has_views
    cells = predictions.labels[seen] * K + predictions.best[seen]
    return torch.bincount(cells, minlength=K * K).reshape(K, K)


def class_accuracies(predictions: Predictions) -> list[ClassAccuracy]:
    """Those of all classes of which there is a video, the worst first; of equals the lower number."""
    K, labels = predictions.num_classes, predictions.labels
    totals = torch.bincount(labels, minlength=K).tolist()
    right = torch.bincount(labels[labels == predictions.best], minlength=K).tolist()
    found = [ClassAccuracy(label, totals[label], right[label]) for label in range(K) if totals[label]]
    return sorted(found, key=lambda row: (row.percent, row.label))


def worst_pairs(matrix: Tensor, k: int) -> list[ConfusedPair]:
    """The k most frequent mistakes of a matrix [K, K], fewer if there are; of equals the one that is a larger
    share of its class, then the lower numbers.
    """
    totals, counts = matrix.sum(dim=1).tolist(), matrix.tolist()
    places = (matrix - matrix.diag().diag()).nonzero().tolist()
    pairs = [
        ConfusedPair(row, column, counts[row][column], counts[row][column] / totals[row])
        for row, column in places
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.label, pair.predicted))[:k]


def most_confused(matrix: Tensor, max_classes: int) -> list[int]:
    """Up to `max_classes` classes: those of the worst pairs, so that confused classes stand side by
    side. All classes, in their order, where there are no more than that.
    """
    K = len(matrix)
    if max_classes >= K:
        return list(range(K))
    chosen: list[int] = []
    for pair in worst_pairs(matrix, K * K):
        new = [label for label in (pair.label, pair.predicted) if label not in chosen]
        if len(chosen) + len(new) <= max_classes:
            known = [label for label in (pair.label, pair.predicted) if label in chosen]
            place = chosen.index(known[0]) + 1 if known and new else len(chosen)
            chosen[place:place] = new
        if len(chosen) == max_classes:
            break
    return chosen


def confident_mistakes(predictions: Predictions, k: int) -> list[int]:
    """Positions of the k wrong videos with the highest probability of the wrong class, fewer if there are;
    where no probability is known, the first wrong ones.
    """
    wrong = predictions.has_views & (predictions.best != predictions.labels)
    places = wrong.nonzero().flatten()
    order = predictions.confidences[places].nan_to_num(0).argsort(descending=True, stable=True)
    return places[order[:k]].tolist()
