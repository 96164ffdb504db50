"""Fused kernels of every backbone against its reference implementation, the model's own equations."""

import contextvars

import pytest
import torch

from slowfast_mlp import models
from slowfast_mlp.kernels import fused
from slowfast_mlp.layers.batch_norm import BATCH_NORMS
from slowfast_mlp.registry import find_module
from tests.models.reference import reference
from tests.models.test_every_model import TINY

DTYPES = (torch.float64, torch.float32)
# A gradient is about 200 products and sums after another from the clip, in the deepest of these models, of
# sums of at most 1000 terms. A sum of n terms is off by about sqrt(n) units of roundoff.
NUM_PRODUCTS, LONGEST_SUM = 200, 1000


def tolerance(dtype):
    """Relative difference that rounding allows between two orders of the same sums."""
    return NUM_PRODUCTS * LONGEST_SUM**0.5 * torch.finfo(dtype).eps


def build(name, dtype=torch.float32, num_clips=4):
    """A model whose branches all count (at the start some give zero), and clips for it."""
    arguments = dict(TINY[name]["arguments"])
    if name in ("morphmlp", "posmlp", "posmlp_video", "vast"):
        arguments["drop_path"] = 0.5
    torch.manual_seed(0)
    model = find_module(models, name, "MODEL.NAME").MODEL(num_classes=5, **arguments)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    size = arguments["crop_size"]
    clips = torch.randn(num_clips, 3, arguments["num_frames"], size, size, dtype=dtype)
    return model.to(dtype), clips


def gradients(model, clips):
    """Logits, and the gradient of every parameter."""
    torch.manual_seed(2)  # of drop path
    logits = model(clips)
    weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
    (logits * weights).sum().backward()
    return logits.detach(), {name: value.grad for name, value in model.named_parameters()}


def follows_batch_norm(model, name):
    """Whether a parameter is a bias just before a batch norm: its gradient is nothing but rounding."""
    modules = list(model.named_modules())
    owner, _, leaf = name.rpartition(".")
    position = [own for own, _ in modules].index(owner)
    following = [module for _, module in modules[position + 1 : position + 2]]
    return leaf == "bias" and any(isinstance(module, BATCH_NORMS) for module in following)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", TINY)
def test_logits_and_gradients_of_a_training_step_are_the_same(name, dtype):
    model, clips = build(name, dtype)
    (logits, ours), (expected, theirs) = (gradients(net, clips) for net in (model, reference(model)))
    assert (logits - expected).abs().max() <= tolerance(dtype) * expected.abs().max()
    largest = max(gradient.norm() for gradient in theirs.values())
    for parameter, gradient in theirs.items():
        if not follows_batch_norm(model, parameter):
            scale = max(gradient.norm(), 1e-3 * largest)
            assert (ours[parameter] - gradient).norm() <= tolerance(dtype) * scale, parameter


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", TINY)
def test_logits_of_an_evaluation_are_the_same(name, dtype):
    model, clips = build(name, dtype)
    with torch.no_grad():
        logits, expected = (net.eval()(clips) for net in (model, reference(model)))
    assert (logits - expected).abs().max() <= tolerance(dtype) * expected.abs().max()


@pytest.mark.parametrize("name", TINY)
def test_in_bf16_logits_are_no_further_from_float64_than_those_of_the_reference(name):
    # Two sets of rounding errors, over 320 logits: their norms differ by chance by less than half.
    model, clips = build(name, num_clips=64)
    exact = reference(model).double().eval()(clips.double())
    errors = []
    for net in (model, reference(model)):
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            errors.append((net.eval()(clips).double() - exact).norm())
    assert errors[0] <= 1.5 * errors[1]


@pytest.mark.parametrize("name", TINY)
def test_hooks_on_every_layer_of_a_block_fire_and_change_no_logit(name):
    model, clips = build(name, torch.float64)
    model.eval()
    expected = model(clips)
    called = set()
    blocks = [block for _, stage in model.stages() for block in stage]
    layers = {layer for block in blocks for layer in block.modules() if not list(layer.children())}
    for layer in layers:
        layer.register_forward_hook(lambda module, inputs, output: called.add(module))
    assert (model(clips) - expected).abs().max() <= tolerance(torch.float64) * expected.abs().max()
    assert called == layers


def test_a_copy_of_the_context_takes_the_switch_to_another_thread():
    block = torch.nn.Linear(1, 1)
    with fused.use_reference():
        assert not fused.enabled(block)
        assert not contextvars.copy_context().run(fused.enabled, block)
    assert fused.enabled(block)


def test_only_hooks_on_layers_that_the_kernel_stands_in_for_switch_it_off():
    inside, beside = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    layers = torch.nn.Sequential(torch.nn.Sequential(inside))
    beside.register_forward_hook(lambda module, inputs, output: None)
    assert fused.enabled() and fused.enabled(layers)
    hook = inside.register_full_backward_pre_hook(lambda module, grad: None)
    assert fused.enabled() and not fused.enabled(layers) and not fused.enabled(inside)
    hook.remove()
    assert fused.enabled(layers, inside)
