"""Evaluation of a model whose logits are known: views, missing videos, and what is summed."""

import pytest
import torch
from torch import nn

from slowfast_mlp.data.batch import Failure, Views
from slowfast_mlp.engine.evaluate import EvalModel, Evaluator
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.kernels import fused

CPU = torch.device("cpu")


class Echo(nn.Module):
    """A clip [B, 3, 1, 1, 1] is its own logits [B, 3]."""

    def forward(self, clips):
        return clips.flatten(1)


def views(videos, logits, failures=()):
    clips = torch.tensor(logits, dtype=torch.float32).reshape(-1, 3, 1, 1, 1)
    return Views(
        clips, torch.zeros(len(videos), dtype=torch.long), torch.tensor(videos, dtype=torch.long), failures
    )


def evaluator_of(loader, labels, *, views_per_video, batch_size):
    return Evaluator(
        loader=loader,
        precision=Precision("fp32", CPU),
        labels=torch.tensor(labels),
        num_classes=3,
        views_per_video=views_per_video,
        batch_size=batch_size,
        device_transform=lambda views: views.clips,
        device=CPU,
    )


def evaluated(loader, labels, views_per_video=2, ensemble="logits"):
    evaluator = evaluator_of(loader, labels, views_per_video=views_per_video, batch_size=1)
    (evaluation,) = evaluator([EvalModel(model=Echo(), ensemble=ensemble)])
    return evaluation


def test_the_mean_over_views_decides():
    result = evaluated([views([0, 0, 1, 1], [[4, 0, 0], [0, 2, 0], [0, 0, 1], [0, 0, 1]])], [1, 2])
    assert result.scores.tolist() == [[2, 1, 0], [0, 0, 1]]
    assert (result.accuracy(1), result.accuracy(2)) == (50, 100)


def test_logits_and_probabilities_can_disagree():
    loader = [
        views([0, 0], [[9, 0, 0], [0, 6, 5.0]]),
    ]
    assert evaluated(loader, [0]).accuracy(1) == 100
    loader = [views([0] * 3, [[20.0, 0, 0], [0, 5, 0], [0, 5, 0]])]
    assert evaluated(loader, [0], 3).accuracy(1) == 100
    assert evaluated(loader, [0], 3, "probs").accuracy(1) == 0


def test_a_video_without_views_is_wrong_and_stays_in_the_denominator():
    failure = Failure(1, "b.mp4", "gone", 2)
    result = evaluated([views([0, 0], [[1, 0, 0]] * 2, (failure,))], [0, 0])
    assert result.accuracy(1) == 50 and result.accuracy(3) == 50
    assert result.accuracy_of_decoded(1) == 100
    assert (result.num_decoded, result.failures) == (1, [failure])


def test_a_video_with_some_views_is_judged_by_them():
    result = evaluated([views([0], [[0, 3, 0]], (Failure(0, "a.mp4", "half", 1),))], [1])
    assert result.accuracy(1) == 100 and result.scores.tolist() == [[0, 3, 0]]


@pytest.mark.parametrize("seen", [[0, 0, 0, 1, 1], [0, 0, 1], [0, 0]])
def test_views_too_many_or_too_few_are_an_error(seen):
    with pytest.raises(RuntimeError, match="were not seen 2 times"):
        evaluated([views(seen, [[1, 0, 0]] * len(seen))], [0, 0])


class Backwards(nn.Module):
    """A clip [B, 3, 1, 1, 1] is its own logits [B, 3], in reversed order."""

    def forward(self, clips):
        return clips.flatten(1).flip(1)


def test_several_models_see_every_batch_once_and_are_judged_each_by_its_own():
    batches = [views([0, 0], [[9, 0, 0], [0, 6, 5.0]]), views([1, 1], [[0, 0, 1], [0, 0, 1]])]
    taken = iter(batches)  # cannot be gone through a second time

    class Once:
        def __len__(self):
            return len(batches)

        def __iter__(self):
            return taken

    models = [
        EvalModel(model=Echo(), ensemble="logits"),
        EvalModel(model=Backwards(), ensemble="logits"),
        EvalModel(model=Echo(), ensemble="logits", class_order=torch.tensor([2, 1, 0])),
    ]
    results = evaluator_of(Once(), [0, 2], views_per_video=2, batch_size=2)(models)
    echo, backwards, reordered = [result.scores.tolist() for result in results]
    assert echo == [[4.5, 3, 2.5], [0, 0, 1]]
    assert backwards == reordered == [[2.5, 3, 4.5], [1, 0, 0]]
    assert [result.accuracy(1) for result in results] == [100, 0, 0]


class Form(nn.Module):
    """Class 1 by fused kernels, class 2 by the reference implementation."""

    def forward(self, clips):
        return torch.eye(3)[1 if fused.enabled(self) else 2].expand(len(clips), 3)


def test_the_switch_to_the_reference_reaches_the_threads_of_an_evaluation():
    evaluator = evaluator_of([views([0], [[0, 0, 0]])], [2], views_per_video=1, batch_size=1)
    with fused.use_reference():
        (evaluation,) = evaluator([EvalModel(model=Form(), ensemble="logits")])
    assert evaluation.accuracy(1) == 100
