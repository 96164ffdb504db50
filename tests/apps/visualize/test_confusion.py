"""What is taken for what, on predictions that can be counted by hand."""

import torch

from slowfast_mlp.apps.visualize.calibration import calibration_error, reliability_bins
from slowfast_mlp.apps.visualize.confusion import (
    class_accuracies,
    confident_mistakes,
    confusion_matrix,
    most_confused,
    worst_pairs,
)
from slowfast_mlp.apps.visualize.predictions import NO_CLASS, Predictions


def predictions_of(*rows, num_classes=3):
    """From (label, best class, probability)."""
    labels, best, confidences = zip(*rows)
    return Predictions(
        paths=tuple(f"{number}.mp4" for number in range(len(rows))),
        labels=torch.tensor(labels),
        best=torch.tensor(best),
        confidences=torch.tensor(confidences, dtype=torch.float64),
        num_classes=num_classes,
        label_names=tuple(f"class {label}" for label in range(num_classes)),
    )


SOME = predictions_of(
    (0, 0, 0.9), (0, 1, 0.6), (0, 1, 0.95), (1, 1, 0.8), (1, 2, 0.7), (2, 2, 0.5), (2, NO_CLASS, float("nan"))
)


def test_a_matrix_counts_videos_by_label_and_best_class_without_those_of_no_view():
    assert confusion_matrix(SOME).tolist() == [[1, 2, 0], [0, 1, 1], [0, 0, 1]]


def test_a_video_without_a_view_counts_as_wrong_for_its_class():
    rows = class_accuracies(SOME)
    assert [(row.label, row.num_correct, row.num_videos) for row in rows] == [(0, 1, 3), (1, 1, 2), (2, 1, 2)]
    assert [round(row.percent, 1) for row in rows] == [33.3, 50.0, 50.0]


def test_a_class_without_a_video_has_no_accuracy():
    assert [row.label for row in class_accuracies(predictions_of((2, 2, 1.0)))] == [2]


def test_the_worst_pairs_come_first_and_right_ones_are_none():
    pairs = worst_pairs(confusion_matrix(SOME), 5)
    assert [tuple(pair)[:3] for pair in pairs] == [(0, 1, 2), (1, 2, 1)]
    assert [round(pair.share, 3) for pair in pairs] == [0.667, 0.5]
    assert len(worst_pairs(confusion_matrix(SOME), 1)) == 1


def test_classes_that_are_confused_stand_side_by_side():
    matrix = torch.zeros(6, 6, dtype=torch.int64)
    matrix[4, 1], matrix[0, 5], matrix[1, 3] = 9, 7, 5
    assert most_confused(matrix, 4) == [4, 1, 0, 5]
    assert most_confused(matrix, 5) == [4, 1, 3, 0, 5]
    assert most_confused(matrix, 6) == [0, 1, 2, 3, 4, 5]


def test_the_most_confident_mistakes_come_first():
    assert confident_mistakes(SOME, 2) == [2, 4]
    assert confident_mistakes(SOME, 9) == [2, 4, 1]


def test_bins_hold_the_mean_probability_and_the_share_that_is_right():
    low, high = reliability_bins(
        predictions_of((0, 1, 0.3), (0, 0, 0.5), (0, 0, 0.8), (0, 0, 1.0), (0, 1, 0.9)), num_bins=2
    )
    assert (low.low, low.high, low.num_videos, low.accuracy) == (0.0, 0.5, 2, 0.5)
    assert (high.low, high.high, high.num_videos) == (0.5, 1.0, 3)
    assert abs(low.confidence - 0.4) < 1e-12 and abs(high.confidence - 0.9) < 1e-12
    # 2 of 5 videos are off by 0.1, 3 of 5 by 0.9 - 2/3.
    assert abs(calibration_error([low, high]) - (2 * 0.1 + 3 * (0.9 - 2 / 3)) / 5) < 1e-12


def test_videos_without_a_probability_are_in_no_bin():
    assert sum(one.num_videos for one in reliability_bins(SOME)) == 6
    assert reliability_bins(predictions_of((0, 0, float("nan")))) == []
    assert calibration_error([]) == 0
