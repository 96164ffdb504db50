"""VAST's quick form against the straightforward one (benchmarks/reference/vast.py)."""

import pytest
import torch

from slowfast_mlp.benchmarks.memory_traffic import traffic_of
from slowfast_mlp.kernels.reference_mode import plainly
from slowfast_mlp.models.vast import VAST
from tests.models.reference import reference

TINY = dict(num_frames=4, crop_size=32, depths=(1, 1, 2, 1), dims=(8, 16, 32, 64), dropout=0.0)
KINDS = {
    "video": {},
    "image": {"num_frames": 1},
    "two frames": {"num_frames": 2},
    "a gate a token": {"gate": "token"},
    "no gate": {"gate": "none"},
    "no bias": {"bias_kernel": None},
    "a bias of single frames": {"bias_kernel_frames": 1},
    "a bias of single frames, no shift in time": {"bias_kernel_frames": 1, "shift_time": False},
    "a bias of five places": {"bias_kernel": 5, "bias_kernel_frames": 5},
    "no projection": {"out_proj": False},
    "a stem of convolutions": {"stem": "conv", "stem_frames": 3},
    "drop path": {"drop_path": 0.5},
}


def build(dtype=torch.float64, **arguments):
    """A network away from its start, and the straightforward one."""
    torch.manual_seed(0)
    model = VAST(num_classes=5, **{**TINY, **arguments})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.to(dtype)
    return model, reference("vast").build(model)


def clips_for(model, dtype=torch.float64, batch=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, model.num_frames, 32, 32, generator=generator).to(dtype)


def passed(model, clips):
    """Logits, and the gradient of every parameter."""
    torch.manual_seed(2)  # of drop path
    model.zero_grad()
    logits = model(clips)
    logits.float().square().sum().backward()
    return logits.detach(), {name: value.grad.clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_logits_and_gradients_are_those_of_the_straightforward_form(kind, dtype, tolerance):
    model, plain = build(dtype, **KINDS[kind])
    clips = clips_for(model, dtype)
    (logits, ours), (expected_logits, expected) = (passed(net, clips) for net in (model, plain))
    assert (logits - expected_logits).abs().max() <= tolerance * expected_logits.abs().max()
    assert ours.keys() == expected.keys()
    for name, gradient in expected.items():
        assert (ours[name] - gradient).norm() <= tolerance * gradient.norm(), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_logits_of_an_evaluation_are_those_of_the_straightforward_form(kind, batch):
    model, plain = build(torch.float32, **KINDS[kind])
    clips = clips_for(model, torch.float32, batch)
    with torch.inference_mode():
        logits, expected = model.eval()(clips), plain.eval()(clips)
        with plainly():
            readable = model(clips)
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (readable - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("is_training", [False, True])
def test_in_bf16_the_errors_are_no_larger_than_those_of_the_straightforward_form(is_training):
    model, plain = build(torch.float32)
    clips, errors = clips_for(model, batch=8), []
    for net in (model, plain):
        exact, _ = passed(build()[1], clips)
        with torch.set_grad_enabled(is_training), torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net.train(is_training)(clips.float())
        errors.append((logits.double() - exact).norm() / exact.norm())
    assert 0 < errors[0] < 1.3 * errors[1] < 0.1


def test_an_evaluation_moves_scales_and_biases_by_one_convolution_a_clip():
    model, _ = build(torch.float64)
    for batch in (1, 3):
        clips = clips_for(model, batch=batch)
        with torch.no_grad():
            names = traffic_of(lambda clips=clips: model.eval()(clips)).names
        assert names.count("constant_pad_nd") == 0
        assert names.count("convolution") + names.count("mkldnn_convolution") == 4 + 5 * batch


def test_an_evaluation_in_bf16_casts_the_weights_of_its_layers_once():
    model, _ = build(torch.float32)
    clips = clips_for(model.eval(), torch.float32)

    def evaluate():
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            return model(clips)

    first, second = (traffic_of(evaluate).names.count("_to_copy") for _ in range(2))
    assert first - second == 5 * 8  # the weights and biases of the four layers of a block
    before = evaluate()
    with torch.no_grad():
        model.blocks1[0].mlp.fc2.weight.mul_(2)
    assert not torch.equal(evaluate(), before)
    model.train()
    assert model.blocks1[0].kept._value is None and model.blocks1[0].mixer.kept._value is None


def test_the_compilers_graph_of_a_block_has_the_same_outputs():
    block = build(torch.float32)[0].blocks2[0].eval()
    x = torch.randn(2, 4, 4, 4, 16)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            expected = block(x)
            compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
            assert (compiled(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
