"""One object for fp32, bf16 and fp16."""

from functools import partial

import pytest
import torch
from torch import nn

from slowfast_mlp.engine.precision import Precision, has_bf16
from slowfast_mlp.errors import UserError

CPU = torch.device("cpu")


def test_auto_is_bf16_where_the_device_has_it():
    assert Precision("auto", CPU).mode == ("bf16" if has_bf16(CPU) else "fp32")


def test_fp16_is_refused_on_a_cpu():
    with pytest.raises(UserError, match="TRAIN.PRECISION fp16 is 200 times slower"):
        Precision("fp16", CPU)


@pytest.mark.parametrize(("mode", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_sets_the_type_of_products(mode, dtype):
    with Precision(mode, CPU).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def stepped(precision, layer, optimizer, clips, max_norm=None):
    """The norm, and whether the step was skipped, of a step whose loss is the sum of outputs."""
    precision.backward(layer(clips).sum())
    return precision.step(optimizer, layer, max_norm)


def test_a_step_clips_the_global_norm_and_tells_it():
    layer = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    precision, clips = Precision("fp32", CPU), torch.tensor([[3.0, 4.0]])
    norm, skipped = stepped(precision, layer, optimizer, clips, max_norm=1.0)
    assert (norm.item(), skipped.item()) == (pytest.approx(5.0), False)
    assert layer.weight.flatten().tolist() == pytest.approx([-0.6, -0.8], abs=1e-5)
    stepped(precision, layer, optimizer, clips)
    assert layer.weight.flatten().tolist() == pytest.approx([-3.6, -4.8], abs=1e-5)


METHODS = {
    "adamw": partial(torch.optim.AdamW, weight_decay=0.1),
    "sgd": partial(torch.optim.SGD, momentum=0.9, weight_decay=0.1),
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_leaves_no_trace(method, fused, bad):
    weights = []
    for inputs in ([1.0, bad, 2.0], [1.0, 2.0]):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(layer.weight)
        optimizer = METHODS[method](layer.parameters(), lr=0.1, fused=fused)
        precision = Precision("fp32", CPU)
        skipped = [stepped(precision, layer, optimizer, torch.tensor([[x]]))[1].item() for x in inputs]
        assert skipped == [x == bad or x != x for x in inputs]
        weights.append(layer.weight.item())
    assert weights[0] == weights[1]


def test_a_loss_that_is_not_finite_makes_all_gradients_nan_where_they_would_be_finite():
    layer = nn.Linear(1, 1)
    precision = Precision("fp32", CPU)
    precision.backward(layer(torch.ones(1, 1)).sum() + float("inf"))
    assert layer.weight.grad.isnan().all() and layer.bias.grad.isnan().all()


def test_without_scaling_there_is_no_state():
    precision = Precision("bf16", CPU)
    assert precision.state_dict() == {}
    precision.load_state_dict({"scale": 1.0})


@pytest.mark.gpu
def test_fp16_scales_skips_an_overflow_and_goes_on():
    device = torch.device("cuda")
    layer = nn.Linear(2, 1).to(device)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    precision = Precision("fp16", device)
    scale = precision.state_dict()["scale"]
    before = layer.weight.clone()
    _, skipped = stepped(precision, layer, optimizer, torch.full((1, 2), 1e38, device=device))
    assert skipped and torch.equal(layer.weight, before) and precision.state_dict()["scale"] < scale
    stepped(precision, layer, optimizer, torch.ones(1, 2, device=device))
    assert not torch.equal(layer.weight, before)
