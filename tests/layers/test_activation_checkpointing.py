"""Activation checkpointing: the same gradients from less memory, for the blocks of every backbone."""

import copy

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from slowfast_mlp import models
from slowfast_mlp.layers.activation_checkpointing import run_block
from slowfast_mlp.registry import find_module
from tests.models.test_every_model import TINY


def tiny(name):
    """A model with two blocks a stage, and clips for it."""
    arguments = dict(TINY[name]["arguments"])
    if "depths" in arguments:
        arguments["depths"] = (2, 2, 2, 2)
    if name in ("morphmlp", "posmlp", "posmlp_video", "vast"):
        arguments["drop_path"] = 0.5
    torch.manual_seed(0)
    model = find_module(models, name, "MODEL.NAME").MODEL(num_classes=5, **arguments)
    size = arguments["crop_size"]
    return model, torch.randn(4, 3, arguments["num_frames"], size, size)


def recomputed(model):
    model.set_grad_checkpointing()
    return model


def pass_through(model, clips):
    """Logits, gradients and buffers of a pass, and the bytes that autograd keeps for the gradient."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(clips)
    num_bytes = sum(size for place, size in kept.items() if place not in own)
    logits.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"logits": logits.detach(), **gradients, **dict(model.named_buffers())}, num_bytes


@pytest.mark.parametrize("name", TINY)
def test_gradients_and_statistics_are_the_same_bit_for_bit_from_less_memory(name):
    model, clips = tiny(name)
    other = recomputed(copy.deepcopy(model))
    (plain, plain_bytes), (again, again_bytes) = (pass_through(net, clips) for net in (model, other))
    assert plain.keys() == again.keys()
    for key in plain:
        assert torch.equal(plain[key], again[key]), key
    assert 0 < again_bytes < 0.6 * plain_bytes


def test_names_and_evaluation_are_the_same():
    model, clips = tiny("morphmlp")
    other = recomputed(copy.deepcopy(model))
    assert list(model.state_dict()) == list(other.state_dict())
    with torch.inference_mode():
        assert torch.equal(model.eval()(clips), other.eval()(clips))


def test_random_numbers_are_drawn_once():
    block = nn.Sequential(nn.Linear(4, 4), StochasticDepth(0.5, mode="row"))
    drawn = []
    for _ in range(2):
        torch.manual_seed(0)
        out = run_block(block, torch.ones(8, 4, requires_grad=True), recompute=True)
        out.sum().backward()
        drawn.append(torch.rand(1).item())
    torch.manual_seed(0)
    torch.empty(8, 1).bernoulli_(0.5)
    assert drawn == [torch.rand(1).item()] * 2
