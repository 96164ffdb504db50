"""What ranks have for themselves, for as many ranks and for another number."""

import torch

from slowfast_mlp.checkpoint.rank_state import merge_states


def state(loss, failed, mean):
    progress = {"sums": {"loss": loss, "clips": 2.0}, "epoch_sums": {"loss": 5.0}, "wait": 1.0}
    failed = {"times": failed, "reasons": {path: "cut off" for path in failed}}
    return {
        "failed": failed,
        "progress": progress,
        "skipped": {"in_a_row": 2},
        "buffers": {"norm.running_mean": torch.tensor([mean])},
    }


TWO = [state(1.5, {"a.mp4": 1}, 1.0), state(2.0, {"a.mp4": 2, "b.mp4": 1}, 2.0)]


def test_the_first_of_another_number_of_ranks_goes_on_with_all_sums():
    first = merge_states(TWO, ["buffers"], of_first=True)
    assert first["progress"]["sums"] == {"loss": 3.5, "clips": 4.0}
    assert first["failed"]["times"] == {"a.mp4": 3, "b.mp4": 1}
    assert first["buffers"]["norm.running_mean"].tolist() == [1.5]


def test_what_all_ranks_have_in_common_stays_and_every_model_has_its_mean():
    averaged = [
        {**state, "ema_buffers": {"norm.running_mean": mean}} for state, mean in zip(TWO, torch.eye(2))
    ]
    first = merge_states(averaged, ["buffers", "ema_buffers"], of_first=False)
    assert first["skipped"] == {"in_a_row": 2}
    assert first["ema_buffers"]["norm.running_mean"].tolist() == [0.5, 0.5]
    assert first["buffers"]["norm.running_mean"].tolist() == [1.5]


def test_the_others_go_on_with_none():
    other = merge_states(TWO, ["buffers"], of_first=False)
    assert other["progress"]["sums"] == {"loss": 0, "clips": 0}
    assert other["failed"] == {"times": {}, "reasons": {}}
    assert other["progress"]["epoch_sums"] == {"loss": 5.0}  # the same on every rank
    assert other["buffers"]["norm.running_mean"].tolist() == [1.5]
