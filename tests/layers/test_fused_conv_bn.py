"""Batch norms inside the convolutions before them, in the evaluations of every backbone that has such."""

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from slowfast_mlp import models
from slowfast_mlp.benchmarks.memory_traffic import measure_traffic
from slowfast_mlp.engine.ema import Ema
from slowfast_mlp.engine.precise_bn import recompute_statistics
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.kernels.fused import use_reference
from slowfast_mlp.layers.batch_norm import batch_norms
from slowfast_mlp.layers.fused_conv_bn import ConvBNModule, ConvBNSequential, FusedConvBN
from slowfast_mlp.registry import find_module
from tests.models.test_every_model import TINY

# Name, arguments next to those of TINY, batch norms after convolutions; Mobile-Former's head has one more.
NETS = {
    "morphmlp": ("morphmlp", {}, 2),
    "morphmlp, image": ("morphmlp", {"num_frames": 1}, 2),
    "posmlp_video": ("posmlp_video", {}, 2),
    "posmlp": ("posmlp", {}, 3),
    "mobile_former": ("mobile_former", {}, 1 + 2 + 3 + 4 + 3 + 1),
    "mobile_former, image": ("mobile_former", {"num_frames": 1}, 1 + 2 + 3 + 4 + 3 + 1),
    "mobile_former, dw1+2d": ("mobile_former", {"temporal": "dw1+2d"}, 1 + 2 + 3 + 4 + 3 + 1),
    "mobile_former, groups": ("mobile_former", {"groups": 2}, 1 + 2 + 3 + 4 + 3 + 1),
}


def build(net, dtype=torch.float32, seed=0):
    """In evaluation, with statistics and weights away from their start."""
    name, arguments, _ = NETS[net]
    torch.manual_seed(seed)
    module = find_module(models, name, "MODEL.NAME")
    model = module.MODEL(num_classes=5, **{**TINY[name]["arguments"], **arguments})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for norm in batch_norms(model):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.bias.normal_()
    return model.to(dtype).eval()


def clips_for(model, batch=2):
    shape = (batch, 3, model.num_frames, model.crop_size, model.crop_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(next(model.parameters()).dtype)


def kept_of(model):
    """What is kept of every folded norm, None where nothing is."""
    holders = [module for module in model.modules() if isinstance(module, ConvBNModule)]
    return [folded._cache._value for holder in holders for folded in holder.caches]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_an_evaluation_has_the_same_logits_without_the_norms(net, dtype, tolerance):
    model = build(net, dtype)
    clips = clips_for(model)
    with torch.inference_mode():
        logits = model(clips)
        with use_reference():
            expected = model(clips)
    assert (logits - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("net", NETS)
def test_every_norm_after_a_convolution_is_folded_once(net):
    model = build(net)
    clips = clips_for(model)
    with torch.no_grad():
        first, second = (measure_traffic(lambda: model(clips)).names for _ in range(2))
        num_kept = sum(value is not None for value in kept_of(model))
        with use_reference():
            plain = measure_traffic(lambda: model(clips)).names
    num_folded = NETS[net][2]
    assert [names.count("native_batch_norm") for names in (plain, second)] == [
        len(batch_norms(model)), len(batch_norms(model)) - num_folded,
    ]  # fmt: skip
    assert [names.count("rsqrt") for names in (first, second)] == [num_folded, 0]
    assert num_kept == num_folded


@pytest.mark.parametrize("net", NETS)
def test_in_bf16_the_logits_are_no_further_from_float32_than_with_the_norms(net):
    errors = {"folded": 0.0, "readable": 0.0}
    for seed in range(6):  # the errors of one net are chance: their ratios range from 0.6 to 1.6
        model = build(net, seed=seed)
        clips = clips_for(model, batch=8)
        with torch.inference_mode(), use_reference():
            exact = model(clips)
        for form, asked in (("folded", nullcontext()), ("readable", use_reference())):
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16), asked:
                errors[form] += ((model(clips).float() - exact).norm() / exact.norm()).item() / 6
    assert 0 < errors["folded"] <= 1.15 * errors["readable"] < 0.05


@pytest.mark.parametrize("net", ["morphmlp", "posmlp_video", "mobile_former"])
def test_training_and_gradients_call_the_norms_and_let_go_of_what_was_kept(net):
    model = build(net)
    clips = clips_for(model, batch=4)
    with torch.inference_mode():
        model(clips)
    assert any(value is not None for value in kept_of(model))
    names = measure_traffic(lambda: model(clips)).names  # in evaluation, with gradients
    assert names.count("native_batch_norm") == len(batch_norms(model))
    assert not any(value is not None for value in kept_of(model))
    with torch.inference_mode():
        model(clips)
    assert not any(value is not None for value in kept_of(copy.deepcopy(model)))
    model.train()
    assert not any(value is not None for value in kept_of(model))


def written_statistics(model):
    for norm in batch_norms(model):
        norm.running_mean.add_(0.3)


def new_statistics(model):
    for norm in batch_norms(model):
        norm.running_var = norm.running_var * 2


def trained_without_gradients(model):
    model.train()
    with torch.no_grad():
        model(clips_for(model, batch=4))
    model.eval()


def fused_step(model):
    """A step that does not count as writing, with evaluations wherever nobody expects them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    loss = model(clips_for(model)).square().sum()
    with torch.no_grad():
        model(clips_for(model))
    loss.backward()
    with torch.no_grad():
        model(clips_for(model))
    optimizer.step()
    optimizer.zero_grad()


def state_plus(model, amount):
    return {
        name: value + amount if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }


CHANGES = {
    "loading": lambda model: model.load_state_dict(state_plus(model, 0.1)),
    "assigning": lambda model: model.load_state_dict(state_plus(model, 0.1), assign=True),
    "statistics written to": written_statistics,
    "other statistics": new_statistics,
    "a pass in training": trained_without_gradients,
    "statistics recomputed": lambda model: recompute_statistics(
        model, [clips_for(model, batch=4)], Precision("fp32", torch.device("cpu"))
    ),
    "a fused step": fused_step,
    "another dtype": lambda model: model.half().float(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("net", ["morphmlp", "posmlp_video", "mobile_former"])
def test_what_is_kept_is_made_anew_after(net, change):
    model = build(net)
    clips = clips_for(model)
    with torch.no_grad():
        before = model(clips)
        assert torch.equal(model(clips), before)
    CHANGES[change](model)
    with torch.no_grad():
        after = model(clips)
        with use_reference():
            expected = model(clips)
    assert not torch.equal(after, before)
    assert (after - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_the_average_of_the_weights_folds_its_own():
    model = build("mobile_former")
    ema = Ema(model, decay=0.5)
    clips = clips_for(model)
    with torch.no_grad():
        ema.model.eval()(clips)
        for parameter in model.parameters():
            parameter.add_(0.1)
        ema.update(torch.tensor(False))
        with use_reference():
            expected = ema.model(clips)
        assert (ema.model(clips) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_another_precision_folds_weights_of_its_own():
    model = build("mobile_former")
    clips = clips_for(model)
    with torch.inference_mode():
        exact = model(clips)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(clips)
        assert torch.equal(model(clips), exact) and not torch.equal(rounded.float(), exact)


@pytest.mark.parametrize("place", [0, 1])
def test_a_layer_with_a_hook_is_called(place):
    layers = ConvBNSequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU6()).eval()
    seen = []
    handle = layers[place].register_forward_hook(lambda _, __, output: seen.append(output.shape))
    with torch.inference_mode():
        expected = layers(torch.ones(2, 3, 5, 5))
        handle.remove()
        assert torch.allclose(layers(torch.ones(2, 3, 5, 5)), expected)
    assert seen == [(2, 4, 5, 5)]


def test_the_folded_kernel_and_bias_are_the_formula():
    conv, norm = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, eps=0.0).eval()
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([3.0, 5.0]).reshape(2, 1, 1, 1))
        conv.bias.copy_(torch.tensor([1.0, -1.0]))
        norm.weight.copy_(torch.tensor([2.0, 4.0]))
        norm.bias.copy_(torch.tensor([0.5, 0.25]))
        norm.running_mean.copy_(torch.tensor([3.0, 1.0]))
        norm.running_var.copy_(torch.tensor([4.0, 16.0]))
        folded = FusedConvBN().get(conv, norm, torch.zeros(1, 1, 1, 1))
    assert folded.kernel.flatten().tolist() == [3.0, 5.0]
    assert folded.bias.tolist() == [1 - 3 + 0.5, -1 - 1 + 0.25]


def test_the_state_knows_nothing_of_it():
    model = build("posmlp_video")
    names = list(model.state_dict())
    with torch.inference_mode():
        model(clips_for(model))
    assert list(model.state_dict()) == names and not any("fold" in name for name in names)


@pytest.mark.parametrize("net", ["morphmlp", "posmlp_video", "mobile_former"])
def test_a_compiled_stem_has_the_same_maps(net):
    model = build(net)
    embed = model.stages()[0][0]
    stem = embed[-1] if isinstance(embed, nn.ModuleList) else embed
    x = torch.randn(2, 3, 32, 32) if net == "mobile_former" else clips_for(model)
    with torch.no_grad():
        expected = stem(x)
        compiled = torch.compile(stem, backend="aot_eager", fullgraph=True)
        assert (compiled(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
