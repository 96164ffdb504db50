"""Mixup and CutMix: formulas worked out by hand, and where the draws come from."""

import pytest
import torch
from torch.nn import functional as F

from slowfast_mlp.data.transforms.mixup import Mixup, cut_box
from slowfast_mlp.engine.metrics import soft_targets


def mixup(**changes):
    settings = dict(alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5, seed=0, rank=0)
    return Mixup(**{**settings, **changes})


def grey_clips(*levels):
    """Clips [B, 3, 2, 10, 20] of one level each."""
    return torch.tensor(levels).reshape(-1, 1, 1, 1, 1).expand(-1, 3, 2, 10, 20).clone()


def test_mixup_is_a_weighted_mean_with_the_clip_from_the_other_end():
    mix = mixup(cutmix_alpha=0)
    share, box = mix.sample(10, 20, epoch=2, step=3)
    assert box is None and 0 < share < 1
    clips, targets = mix(grey_clips(0.0, 1.0, 5.0), torch.eye(3), epoch=2, step=3)
    assert [float(clip[0, 0, 0, 0]) for clip in clips] == pytest.approx([5 * (1 - share), 1, 5 * share])
    assert all(clip.unique().numel() == 1 for clip in clips)
    expected = torch.tensor([[share, 0, 1 - share], [0, 1, 0], [1 - share, 0, share]])
    torch.testing.assert_close(targets, expected)


def test_cutmix_puts_in_a_box_and_counts_its_true_area():
    mix = mixup(alpha=0)
    for step in range(20):
        share, (top, left, height, width) = mix.sample(10, 20, epoch=0, step=step)
        clips, targets = mix(grey_clips(0.0, 1.0), torch.eye(2), epoch=0, step=step)
        assert share == 1 - height * width / 200
        assert clips[0, :, :, top : top + height, left : left + width].eq(1).all()
        assert clips[0].mean() == pytest.approx(1 - share) and clips[1].mean() == pytest.approx(share)
        torch.testing.assert_close(targets, torch.tensor([[share, 1 - share], [1 - share, share]]))


@pytest.mark.parametrize(
    ("share", "y", "x", "box"),
    [
        (0.75, 5, 10, (3, 5, 4, 10)),  # sides half as long: 5 and 10, halved down to 2 and 5 around the point
        (0.75, 0, 0, (0, 0, 2, 5)),
        (0.75, 9, 19, (7, 14, 3, 6)),
        (0.0, 5, 10, (0, 0, 10, 20)),
        (1.0, 5, 10, (5, 10, 0, 0)),
    ],
)
def test_cut_boxes_end_at_the_frame(share, y, x, box):
    assert cut_box(10, 20, share, y=y, x=x) == box


def test_the_loss_of_a_mixed_and_smoothed_batch_is_the_one_by_hand():
    # Smoothing 0.1 over 4 classes: 0.925 and 0.025. Mixed 0.75 to 0.25: 0.7, 0.25, 0.025, 0.025.
    labels = torch.tensor([0, 1])
    targets = soft_targets(labels, 4, 0.1)
    mixed = 0.75 * targets + 0.25 * targets.flip(0)
    torch.testing.assert_close(mixed[0], torch.tensor([0.7, 0.25, 0.025, 0.025]))
    logits = torch.tensor([[2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    # The first's log-sum-exp is ln(e^2 + e + 2) = 2.493812; less 0.7 * 2 + 0.25 it is 0.843812. The second's
    # is ln 4 = 1.386294.
    assert F.cross_entropy(logits, mixed).item() == pytest.approx((0.843812 + 1.386294) / 2, abs=1e-5)


def test_every_step_epoch_rank_and_seed_draws_its_own_and_the_same_again():
    def drawn(epoch=0, step=0, **changes):
        return mixup(**changes).sample(10, 20, epoch=epoch, step=step)

    assert drawn() == drawn()
    others = [drawn(epoch=1), drawn(step=1), drawn(rank=1), drawn(seed=1)]
    assert len({drawn(), *others}) == 5


def test_kinds_and_mixed_batches_keep_to_their_shares():
    draws = [mixup(prob=0.8, switch_prob=0.25).sample(32, 32, epoch=0, step=step) for step in range(4000)]
    mixed = [(share, box) for share, box in draws if share != 1 or box]
    assert len(mixed) / 4000 == pytest.approx(0.8, abs=0.03)
    assert sum(box is not None for _, box in mixed) / len(mixed) == pytest.approx(0.25, abs=0.03)
    shares = torch.tensor([share for share, box in mixed if box is None])
    # Beta(0.8, 0.8): mean 1/2, variance 1 / (4 (2 * 0.8 + 1)).
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * 2.6), abs=0.006)


def test_a_batch_that_is_not_mixed_stays_as_it_is():
    clips, targets = mixup(prob=0)(grey_clips(0.0, 1.0), torch.eye(2), epoch=0, step=0)
    assert torch.equal(clips, grey_clips(0.0, 1.0)) and torch.equal(targets, torch.eye(2))
