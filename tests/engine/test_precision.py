"""One object for fp32, bf16 and fp16."""

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


def test_a_step_clips_the_global_norm_and_tells_it():
    layer = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    precision = Precision("fp32", CPU)
    norm = precision.step(layer(torch.tensor([[3.0, 4.0]])).sum(), optimizer, layer, max_norm=1.0)
    assert norm.item() == pytest.approx(5.0)
    assert layer.weight.flatten().tolist() == pytest.approx([-0.6, -0.8], abs=1e-5)
    precision.step(layer(torch.tensor([[3.0, 4.0]])).sum(), optimizer, layer, max_norm=None)
    assert layer.weight.flatten().tolist() == pytest.approx([-3.6, -4.8], abs=1e-5)


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
    precision.step(layer(torch.full((1, 2), 1e38, device=device)).sum() * 10, optimizer, layer, None)
    assert torch.equal(layer.weight, before) and precision.state_dict()["scale"] < scale
    precision.step(layer(torch.ones(1, 2, device=device)).sum(), optimizer, layer, None)
    assert not torch.equal(layer.weight, before)
