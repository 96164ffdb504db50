"""The average of weights, by its formula."""

import pytest
import torch
from torch import nn

from slowfast_mlp.engine.ema import Ema

DONE, SKIPPED = torch.tensor(False), torch.tensor(True)


def norm_with(weight):
    layer = nn.BatchNorm1d(1)
    set_to(layer, weight)
    return layer


def set_to(layer, weight):
    nn.init.constant_(layer.weight, weight)
    layer.running_mean.fill_(weight)
    layer.num_batches_tracked.fill_(int(weight))


def test_weights_and_statistics_are_averaged_and_counters_copied():
    layer = norm_with(0.0)
    ema = Ema(layer, decay=0.75)
    followed = []
    for weight in (1.0, 2.0):
        set_to(layer, weight)
        ema.update(DONE)
        followed.append((ema.model.weight.item(), ema.model.running_mean.item()))
    assert followed == [(0.25, 0.25), (0.6875, 0.6875)]  # 0.75 * 0.25 + 0.25 * 2
    assert ema.model.num_batches_tracked == 2


def test_the_warm_up_keeps_less_of_the_first_weights():
    layer = norm_with(0.0)
    ema = Ema(layer, decay=0.15, warmup=True)
    set_to(layer, 1.0)
    followed = []
    for _ in range(3):
        ema.update(DONE)
        followed.append(ema.model.weight.item())
    # What is left of 0: 1/10, times 0.15 (less than 2/11), times 0.15.
    assert followed == pytest.approx([0.9, 1 - 0.015, 1 - 0.00225])


def test_the_averaged_model_is_for_evaluation_and_the_first_is_not_touched():
    layer = norm_with(1.0)
    ema = Ema(layer, decay=0.5)
    assert not ema.model.training and layer.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    ema.update(DONE)
    assert layer.weight.requires_grad and layer.weight.item() == 1.0


def test_the_state_goes_on_where_it_was():
    def follow(ema, layer, weights):
        for weight in weights:
            set_to(layer, weight)
            ema.update(DONE)

    layer, other = norm_with(0.0), norm_with(7.0)
    whole = Ema(layer, decay=0.9, warmup=True)
    follow(whole, layer, [1.0, 2.0])
    resumed = Ema(other, decay=0.9, warmup=True)
    resumed.load_state_dict(whole.state_dict())
    follow(whole, layer, [3.0])
    follow(resumed, other, [3.0])
    assert torch.equal(whole.model.weight, resumed.model.weight)


def test_a_restart_takes_the_weights_of_now():
    layer = norm_with(0.0)
    ema = Ema(layer, decay=0.9, warmup=True)
    set_to(layer, 1.0)
    ema.update(DONE)
    set_to(layer, 5.0)
    ema.restart()
    assert ema.model.weight.item() == 5.0 and ema.state_dict()["num_updates"] == 0


@pytest.mark.parametrize("warmup", [False, True])
def test_a_skipped_step_moves_nothing_and_does_not_count(warmup):
    layer, other = norm_with(0.0), norm_with(0.0)
    ema, unbroken = (Ema(source, decay=0.9, warmup=warmup) for source in (layer, other))
    for source in (layer, other):
        set_to(source, 1.0)
    for average, skips in ((ema, [DONE, SKIPPED, SKIPPED, DONE]), (unbroken, [DONE, DONE])):
        for skipped in skips:
            average.update(skipped)
    assert torch.equal(ema.model.weight, unbroken.model.weight) and ema.model.weight.item() != 0
    assert torch.equal(ema.model.running_mean, unbroken.model.running_mean)
    assert ema.state_dict()["num_updates"] == 2
