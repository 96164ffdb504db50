"""Whether probabilities are what they say: reliability bins and the expected calibration error."""

from dataclasses import dataclass

from slowfast_mlp.apps.visualize.predictions import Predictions

NUM_BINS = 15  # of equal width: Guo et al. 2017 (arXiv 1706.04599), section 2 and their experiments


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Videos whose probability is above `low` and at most `high`: how many, the mean probability and the
    share that is right.
    """

    low: float
    high: float
    num_videos: int
    confidence: float
    accuracy: float


def reliability_bins(predictions: Predictions, num_bins: int = NUM_BINS) -> list[Bin]:
    """The bins that hold a video, from low to high; none where no probability is known. A video without a
    view has no probability and is in none.
    """
    known = predictions.has_views & ~predictions.confidences.isnan()
    confidences = predictions.confidences[known]
    is_correct = (predictions.best == predictions.labels)[known].double()
    places = ((confidences * num_bins).ceil().long() - 1).clamp(0, num_bins - 1)
    return [
        Bin(
            low=place / num_bins,
            high=(place + 1) / num_bins,
            num_videos=int((places == place).sum()),
            confidence=float(confidences[places == place].mean()),
            accuracy=float(is_correct[places == place].mean()),
        )
        for place in places.unique().tolist()
    ]


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error: |accuracy - confidence|, the mean over videos. Of no bin it is 0."""
    total = sum(one.num_videos for one in bins)
    return sum(one.num_videos * abs(one.accuracy - one.confidence) for one in bins) / max(1, total)
