"""Sums, scores and targets that can be checked by hand."""

import pytest
import torch
from torch.nn import functional as F

from slowfast_mlp.engine.metrics import VideoScores, soft_targets, top_k_correct
from slowfast_mlp.log.running_sums import RunningSums


def test_smoothing_spreads_its_share_over_all_classes():
    targets = soft_targets(torch.tensor([2, 0]), 4, 0.1)
    assert targets.tolist()[0] == pytest.approx([0.025, 0.025, 0.925, 0.025])
    assert soft_targets(torch.tensor([2, 0]), 4, 0.0).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]


def test_soft_targets_give_the_usual_loss():
    logits, labels = torch.randn(5, 7), torch.randint(0, 7, (5,))
    for smoothing in (0.0, 0.1):
        expected = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        assert torch.allclose(F.cross_entropy(logits, soft_targets(labels, 7, smoothing)), expected)


def test_sums_start_anew_after_they_were_taken():
    sums = RunningSums(("loss", "count"), torch.device("cpu"))
    sums.add(torch.tensor(0.5, requires_grad=True), 2)
    sums.add(torch.tensor(1.5), 1)
    assert sums.take() == {"loss": 2.0, "count": 3.0}
    assert sums.take() == {"loss": 0.0, "count": 0.0}


def test_a_nan_stays_in_the_sum():
    sums = RunningSums(("loss",), torch.device("cpu"))
    for value in (1.0, float("nan"), 1.0):
        sums.add(torch.tensor(value))
    assert sums.take()["loss"] != sums.take()["loss"]


def test_scores_of_views_add_up_per_video_in_any_order():
    scores = torch.randn(6, 3)
    videos = torch.tensor([0, 0, 2, 2, 0, 2])
    one, other = VideoScores(3, 3), VideoScores(3, 3)
    one.add(videos, scores)
    for n in (3, 0, 5, 2, 4, 1):
        other.add(videos[n : n + 1], scores[n : n + 1])
    assert torch.allclose(one.scores, other.scores, atol=1e-15)
    assert one.scores[0].tolist() == pytest.approx(scores.double()[[0, 1, 4]].sum(0).tolist())
    assert one.num_views.tolist() == [3, 0, 3]


def test_top_k_counts_the_label_among_the_best():
    scores = torch.tensor([[3.0, 2, 1], [1, 2, 3], [1, 1, 1]])
    labels = torch.tensor([1, 2, 0])
    assert top_k_correct(scores, labels, 1).tolist() == [False, True, True]
    assert top_k_correct(scores, labels, 2).tolist() == [True, True, True]
    assert top_k_correct(scores, labels, 5).tolist() == [True, True, True]
