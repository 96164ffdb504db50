"""The fast config of PosMLP-Video and PosMLP: the numbers and gradients of the reference implementation, from
fewer passes over memory.
"""

import copy

import pytest
import torch
from torch import nn

from slowfast_mlp.benchmarks.memory_traffic import measure_traffic, saved_bytes
from slowfast_mlp.engine.ema import Ema
from slowfast_mlp.kernels import gated_mixing
from slowfast_mlp.kernels.fused import use_reference
from slowfast_mlp.kernels.gated_mixing import MixingConfig, Weights
from slowfast_mlp.layers.quadratic_position import QuadraticPosition
from slowfast_mlp.layers.windows import window_partition
from slowfast_mlp.models import posmlp
from slowfast_mlp.models.posmlp_video import BLOCKS, VARIANTS, PosMLPVideo
from tests.models.reference import reference

TINY = dict(crop_size=32, depths=(1, 2, 1, 1), dims=(16, 32, 64, 128), num_groups=(2, 4, 8, 16))


def tiny(block="parallel", num_frames=4, **arguments):
    """Weights away from the start, at which every block gives its input."""
    torch.manual_seed(0)
    model = PosMLPVideo(num_classes=3, num_frames=num_frames, block=block, **{**TINY, **arguments})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def clips(num_clips=2, num_frames=4, dtype=torch.float32):
    return torch.randn(num_clips, 3, num_frames, 32, 32, generator=torch.Generator().manual_seed(1)).to(dtype)


def passed(net, x):
    """Logits, and the gradient of every parameter."""
    logits = net(x)
    logits.float().square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    net.zero_grad()
    # A shift straight before a batch norm changes nothing: its gradient is noise.
    noise = ("patch_embed1.proj1.bias", "patch_embed1.proj2.bias")
    return logits.detach(), {name: gradient for name, gradient in gradients.items() if name not in noise}


def relative(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("time_windows", [None, (2, 4, 1, 2)])
@pytest.mark.parametrize("block", BLOCKS)
def test_logits_and_gradients_are_those_of_the_reference(block, time_windows):
    model = tiny(block, time_windows=time_windows).double()
    plain = reference(model)
    (logits, gradients), (expected, expected_gradients) = (
        passed(net, clips(dtype=torch.float64)) for net in (model, plain)
    )
    assert torch.allclose(logits, expected, rtol=0, atol=1e-12)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        assert relative(gradient, expected_gradients[name]) < 1e-10, name


def test_the_image_model_is_the_reference_of_one_frame():
    model = tiny(num_frames=1).eval()
    picture = clips(num_frames=1)
    with torch.no_grad():
        expected = reference(model)(picture)
        assert (model(picture) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_single_precision_is_within_1e5_of_the_scale_with_gradients_and_without():
    model = tiny()
    (logits, gradients), (expected, expected_gradients) = (
        passed(net, clips()) for net in (model, reference(model))
    )
    assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()
    assert max(relative(grad, expected_gradients[name]) for name, grad in gradients.items()) < 1e-4
    model.eval()
    with torch.inference_mode():
        expected = reference(model)(clips())
        assert (model(clips()) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_half_precision_is_no_further_from_single_precision_than_the_reference_is():
    model = tiny().eval()
    exact, exact_gradients = passed(model, clips(8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (logits, gradients), (plain, plain_gradients) = (
            passed(net, clips(8)) for net in (model, reference(model))
        )
    assert relative(logits, exact) < 1.3 * relative(plain, exact) < 0.05
    names = [name for name in gradients if "blocks" in name]
    errors = [relative(gradients[name], exact_gradients[name]) for name in names]
    plain_errors = [relative(plain_gradients[name], exact_gradients[name]) for name in names]
    assert sum(errors) < 1.1 * sum(plain_errors)


def test_drop_path_drops_the_clips_that_the_reference_drops():
    model = tiny(drop_path=0.6)
    plain = reference(model)
    results = []
    for net in (model, plain):
        torch.manual_seed(3)
        results.append(passed(net, clips(6)))
    (logits, gradients), (expected, expected_gradients) = results
    assert (logits - expected).abs().max() < 1e-5 * expected.abs().max()
    assert max(relative(grad, expected_gradients[name]) for name, grad in gradients.items()) < 1e-4
    other, _ = passed(model, clips(6))
    assert not torch.allclose(other, logits, atol=1e-3)  # drawn again


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("is_scaled", [True, False])
def test_the_kernels_gradient_is_the_slope_of_what_it_computes(is_scaled, residual):
    torch.manual_seed(0)
    S, T, N, C, G, V = 2, 3, 4, 4, 2, 2

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    mixed = G * V
    layers = [draw(4 * mixed, C), draw(4 * mixed), draw(C, 2 * mixed), draw(C)]
    mixers = [draw(G, N, N), draw(G, T, T), draw(N), draw(T)]  # space, then time
    scale = torch.tensor([0.5, 2.0], dtype=torch.float64) if is_scaled else None
    config = MixingConfig(inner=(1, N), residual=residual, eps=1e-5)

    def mix(x, *tensors):
        weights = Weights(*tensors[:4], tuple(tensors[4:6]), tuple(tensors[6:]))
        return gated_mixing.gated_mixing(x, weights, scale=scale, config=config)

    assert torch.autograd.gradcheck(mix, (draw(S, T, N, C), *layers, *mixers))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_size_of_the_parts_that_a_cpu_works_on_changes_no_more_than_rounding(monkeypatch, precision):
    model = tiny(drop_path=0.3)
    results = []
    for size in (1, 10_000, 1 << 40):
        monkeypatch.setattr(gated_mixing, "CPU_TILE_BYTES", size)
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            results.append(passed(model, clips()))
    tolerance = 1e-4 if precision == "fp32" else 0.05
    for logits, gradients in results[1:]:
        assert relative(logits, results[0][0]) < tolerance
        assert max(relative(grad, results[0][1][name]) for name, grad in gradients.items()) < tolerance


def test_a_block_may_be_used_twice_and_its_gradient_taken_twice():
    model = tiny().double()
    block, plain = model.blocks1[0], reference(model).blocks1[0]
    x = torch.randn(2, 4, 8, 8, 16, dtype=torch.float64)
    x = window_partition(x, 2)
    ours, theirs = block(block(x)).square().sum(), plain(plain(x)).square().sum()
    own, expected = dict(block.named_parameters()), dict(plain.named_parameters())
    first = torch.autograd.grad(ours, list(own.values()), retain_graph=True)
    again = torch.autograd.grad(ours, list(own.values()))
    slopes = dict(zip(expected, torch.autograd.grad(theirs, list(expected.values()))))
    for name, gradient, repeated in zip(own, first, again):
        assert torch.equal(gradient, repeated)
        assert relative(gradient, slopes[name]) < 1e-10, name


def test_an_image_layer_with_dropout_drops_before_the_residual():
    torch.manual_seed(0)
    position = QuadraticPosition((1, 2, 2), 3)
    layer = posmlp.Layer(6, position=position, mlp_ratio=4, dropout=0.5, rate=0.0).double()
    x = torch.randn(2, 1, 4, 4, 6, dtype=torch.float64)
    torch.manual_seed(1)
    out = layer(window_partition(x, 2))
    torch.manual_seed(1)
    with use_reference():
        expected = layer(window_partition(x, 2))
    assert torch.allclose(out, expected)


@pytest.mark.parametrize("encoding", posmlp.ENCODINGS)
def test_gradients_of_an_image_layer_are_those_of_its_equation(encoding):
    torch.manual_seed(0)
    position = posmlp._position((1, 2, 2), 3, encoding=encoding, table_init="trunc_normal")
    layer = posmlp.Layer(6, position=position, mlp_ratio=4, dropout=0.0, rate=0.0).double()
    x = torch.randn(2, 1, 4, 4, 6, dtype=torch.float64)
    parameters = list(layer.parameters())
    x = window_partition(x, 2)
    ours = torch.autograd.grad(layer(x).square().sum(), parameters)
    with use_reference():
        expected = torch.autograd.grad(layer(x).square().sum(), parameters)
    assert max(map(relative, ours, expected)) < 1e-10


def fused_step(model):
    """A step that does not count as writing, with evaluations wherever nobody expects them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    optimizer.zero_grad()
    loss = model(clips()).square().sum()
    with torch.no_grad():
        model(clips())
    loss.backward()
    with torch.no_grad():
        model(clips())
    optimizer.step()
    optimizer.zero_grad()


CHANGES = {
    "a step": lambda model: torch.optim.SGD(model.parameters(), lr=1.0).step(),
    "a fused step": fused_step,
    "loading": lambda model: model.load_state_dict(
        {name: value + 0.1 for name, value in model.state_dict().items()}
    ),
    "assigning": lambda model: model.load_state_dict(
        {name: value + 0.1 for name, value in model.state_dict().items()}, assign=True
    ),
    "a new parameter": lambda model: setattr(
        model.blocks2[0].fc.encoder.fc2, "weight", nn.Parameter(torch.ones(32, 32))
    ),
    "another dtype": lambda model: model.double().float().half().float(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_what_an_evaluation_keeps_is_made_anew_after(change, mode):
    model = tiny().eval()
    with mode():
        before = model(clips())
        assert torch.equal(model(clips()), before)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    CHANGES[change](model)
    fresh = reference(model)
    with mode():
        after, expected = model(clips()), fresh(clips())
    assert not torch.equal(after, before)
    assert torch.allclose(after, expected, atol=1e-5)


def test_the_average_of_the_weights_is_followed_by_its_own_evaluations():
    model = tiny()
    ema = Ema(model, decay=0.5)
    with torch.no_grad():
        ema.model(clips())
        for parameter in model.parameters():
            parameter.add_(0.1)
        ema.update(torch.tensor(False))
        expected = reference(ema.model)(clips())
        assert torch.allclose(ema.model(clips()), expected, atol=1e-5)


def test_another_precision_makes_weights_of_its_own():
    model = tiny().eval()
    with torch.inference_mode():
        exact = model(clips())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model(clips()).dtype == torch.bfloat16
        assert torch.equal(model(clips()), exact)


def test_a_copy_and_a_model_in_training_hold_no_weights_but_their_own():
    model = tiny().eval()
    with torch.inference_mode():
        model(clips())
    cache = model.blocks1[0].caches[0]
    assert cache._value is not None
    assert copy.deepcopy(model).blocks1[0].caches[0]._value is None
    model.train()
    assert cache._value is None


def test_an_evaluation_folds_weights_and_gathers_maps_in_its_first_pass_alone():
    model = tiny().eval()
    with torch.no_grad():
        first, second = (measure_traffic(lambda: model(clips())).names for _ in range(2))
    assert (first.count("embedding"), second.count("embedding")) == (10, 0)
    assert len(first) - len(second) >= 5 * 15  # in every block
    for name in ("addmm", "addmm_", "baddbmm", "gelu_"):
        assert second.count(name) == first.count(name)


def test_a_step_gathers_every_map_once():
    model = tiny()
    names = measure_traffic(lambda: model(clips()).sum().backward()).names
    assert names.count("embedding") == 10


def test_a_block_of_an_evaluation_has_a_dozen_kernels_and_permutes_no_tokens():
    # In fp64, whose products are of one kind everywhere; those of fp32 are oneDNN's on some processors.
    block = tiny(num_frames=2, crop_size=64).eval().double().blocks1[0]
    x = torch.randn(2, 16, 2, 16, 16).double()
    with torch.no_grad():
        block(x)
        ours = measure_traffic(lambda: block(x))
    assert [name for name in ours.names if name != "clone"] == [
        "native_layer_norm", "addmm", "gelu_", "baddbmm", "mul_", "baddbmm", "mul_", "add", "addmm_",
    ]  # fmt: skip
    assert max(ours.permute_copies) == x.numel() // 8  # the map of time, for every row of tokens


def test_stages_reorder_tokens_at_their_ends_alone():
    model = tiny(num_frames=2, crop_size=96).eval()
    plain = reference(model)
    x = torch.randn(3, 3, 2, 96, 96)
    tokens = [3 * 2 * side * side * dim for side, dim in ((24, 16), (12, 32), (6, 64), (3, 128))]
    with torch.no_grad():
        model(x)
        permuted, of_reference = (
            measure_traffic(lambda net=net: net(x)).permute_copies for net in (model, plain)
        )
    # Into windows and back in the first two stages; in the others a window is the map.
    assert [permuted.count(size) for size in tokens] == [2, 2, 0, 0]
    assert [of_reference.count(size) for size in tokens] >= [4, 8, 4, 4]


def test_training_keeps_at_most_half_of_what_the_reference_keeps():
    arguments = {**VARIANTS["S"], "depths": (2, 1, 2, 1)}
    model = PosMLPVideo(num_classes=5, num_frames=8, crop_size=224, table_init="trunc_normal", **arguments)
    kept = []
    for net in (model, reference(model)):
        with torch.autocast("cpu", dtype=torch.bfloat16), saved_bytes() as saved:
            logits = net(torch.randn(1, 3, 8, 224, 224))
            kept.append(saved())
        del logits
    assert 0.2 < kept[0] / kept[1] < 0.47


def test_recomputed_blocks_have_the_gradients_of_the_reference():
    model = tiny().double()
    plain = reference(model)
    model.set_grad_checkpointing()
    (logits, gradients), (expected, expected_gradients) = (
        passed(net, clips(dtype=torch.float64)) for net in (model, plain)
    )
    assert torch.allclose(logits, expected)
    for name, gradient in gradients.items():
        assert relative(gradient, expected_gradients[name]) < 1e-10, name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_block_compiles_to_one_graph_with_the_same_gradients(precision):
    block = tiny(drop_path=0.0).blocks1[0]
    x = torch.randn(2, 16, 4, 4, 16, requires_grad=True)
    results = []
    for call in (block, torch.compile(block, fullgraph=True, backend="aot_eager")):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            out = call(x)
        results.append([out, *torch.autograd.grad(out.float().square().sum(), [x, *block.parameters()])])
    for compiled, eager in zip(*reversed(results)):
        assert relative(compiled, eager) < (1e-5 if precision == "fp32" else 0.02)
