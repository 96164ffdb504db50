"""Weights of any checkpoint, loaded with a report."""

import argparse

import pytest
import torch

from slowfast_mlp.checkpoint.checkpoint import read
from slowfast_mlp.checkpoint.weights import check_finite, load_weights, weights_of
from slowfast_mlp.errors import UserError
from tests.checkpoint.models import small_model


def test_weights_that_are_not_finite_are_not_saved():
    model = small_model()
    check_finite(model)
    model.head.bias.data[0] = float("nan")
    with pytest.raises(UserError, match=r"1 weights are no longer finite \(head.bias"):
        check_finite(model)


@pytest.mark.parametrize(
    "wrapping", ["flat", "model_state", "state_dict", "state_dict_ema", "model", "module."]
)
def test_weights_are_found_in_every_wrapping(tmp_path, wrapping):
    source, target = small_model(), small_model()
    weights = source.state_dict()
    contents = {"flat": weights, "module.": {f"module.{k}": v for k, v in weights.items()}}.get(
        wrapping, {"epoch": 3, wrapping: weights}
    )
    torch.save(contents, tmp_path / "w.pth")
    found = weights_of(read(str(tmp_path / "w.pth")), "w.pth")
    report = load_weights(target, found, source="w.pth")
    assert set(report.loaded) == set(weights)
    assert torch.equal(target.head.weight, source.head.weight)


def test_the_report_names_missing_unexpected_and_misshapen_entries():
    weights = small_model(4).state_dict()
    weights["tail.weight"] = weights.pop("head.bias")
    model = small_model(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError) as raised:
        load_weights(model, weights, source="w.pth")
    message = str(raised.value)
    assert "w.pth does not fit this model: 0 entries loaded; 1 missing (head.bias)" in message
    assert "1 unexpected (tail.weight); 3 misshapen (body.weight, body.bias, head.weight)" in message
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_may_miss_keeps_its_values():
    weights = {name: value for name, value in small_model().state_dict().items() if "head" not in name}
    model = small_model()
    head = model.head.weight.clone()
    report = load_weights(model, weights, source="w", may_miss=("head.",))
    assert report.missing == ("head.weight", "head.bias")
    assert torch.equal(model.head.weight, head) and torch.equal(model.body.weight, weights["body.weight"])


def test_the_arguments_that_timm_keeps_beside_the_weights_are_no_obstacle(tmp_path):
    weights = small_model().state_dict()
    torch.save({"state_dict": weights, "args": argparse.Namespace(lr=0.1)}, tmp_path / "w.pth")
    assert weights_of(read(str(tmp_path / "w.pth")), "w.pth").keys() == weights.keys()


@pytest.mark.parametrize(
    ("contents", "message"),
    [([1, 2], "holds a list"), ({"epoch": 3}, "holds no weights; its keys are epoch")],
)
def test_files_without_weights_are_refused(tmp_path, contents, message):
    torch.save(contents, tmp_path / "w.pth")
    with pytest.raises(UserError, match=message):
        weights_of(read(str(tmp_path / "w.pth")), "w.pth")
