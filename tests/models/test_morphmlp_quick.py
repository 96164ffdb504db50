"""MorphMLP's fused block against its reference implementation, and what it saves."""

import pytest
import torch
from torchvision.ops import StochasticDepth

from slowfast_mlp.kernels import morph_block
from slowfast_mlp.kernels.fused_residual import drop_path_scale
from slowfast_mlp.models.morphmlp import MorphMLP
from tests.models.reference import reference

TINY = dict(num_frames=4, crop_size=32, depths=(1, 1, 2, 1), dims=(8, 16, 32, 64))
SIZES = {
    "video": TINY,
    "image": {**TINY, "num_frames": 1},
    "drop path": {**TINY, "drop_path": 0.5},
    "chunks of parts of rows, of one row, of two rows, of the map": dict(
        num_frames=5, crop_size=64, depths=(1, 1, 1, 1), dims=(32, 64, 128, 128)
    ),
    "several chunks in the last map": {**TINY, "crop_size": 64, "chunk_lens": (4, 2, 2, 2)},
    "a width that is not all time's": {**TINY, "num_frames": 6, "temporal_groups": (4, 4, 4, 4)},
}


def build(dtype=torch.float64, **arguments):
    """A network away from its start, at which whole branches are silent, and the straightforward one."""
    torch.manual_seed(0)
    quick = MorphMLP(num_classes=5, **arguments)
    with torch.no_grad():
        for parameter in quick.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    quick.to(dtype)
    return quick, reference(quick)


def clips_for(arguments, dtype=torch.float64, batch=3):
    generator = torch.Generator().manual_seed(1)
    size = arguments["crop_size"]
    return torch.randn(batch, 3, arguments["num_frames"], size, size, generator=generator).to(dtype)


def gradients(model, clips):
    """Logits, and the gradient of every parameter."""
    torch.manual_seed(2)  # of drop path
    logits = model(clips)
    weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
    (logits * weights).sum().backward()
    return logits.detach(), {name: value.grad for name, value in model.named_parameters()}


def demand_equal_gradients(ours, expected, tolerance):
    for name, gradient in expected.items():
        if name in ("patch_embed1.proj1.bias", "patch_embed1.proj2.bias"):
            continue  # nothing but rounding: batch norm takes every bias away
        assert (ours[name] - gradient).norm() <= tolerance * gradient.norm(), name


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_logits_and_gradients_are_those_of_the_straightforward_form(size, dtype, tolerance):
    quick, plain = build(dtype, **SIZES[size])
    clips = clips_for(SIZES[size], dtype)
    assert all(morph_block.can_fuse(block, torch.empty(1, 1, 8, 8, 8)) for block in quick.blocks1)
    logits, ours = gradients(quick, clips)
    expected_logits, expected = gradients(plain, clips)
    assert (logits - expected_logits).abs().max() <= tolerance * expected_logits.abs().max()
    demand_equal_gradients(ours, expected, 3 * tolerance)


def test_maps_and_chunks_that_do_not_divide_each_other_take_the_readable_form():
    arguments = dict(
        num_frames=4, crop_size=24, depths=(1, 1, 1, 1), dims=(8, 16, 32, 64), chunk_lens=(4, 1, 1, 1)
    )
    quick, plain = build(**arguments)
    assert not morph_block.can_fuse(quick.blocks1[0], torch.empty(1, 2, 6, 6, 8))
    clips = clips_for(arguments)
    logits, ours = gradients(quick, clips)
    expected_logits, expected = gradients(plain, clips)
    assert torch.allclose(logits, expected_logits)
    demand_equal_gradients(ours, expected, 1e-12)


def errors_in_bf16(model, exact, x):
    """Root of the squared errors of outputs and of all gradients under autocast."""
    exact_out, exact_gradients = gradients(exact, x.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, found = gradients(model, x)
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    wrong = sum((found[key].double() - exact_gradients[key]).square().sum() for key in found)
    return (out - exact_out).square().sum().sqrt(), wrong.sqrt()


def test_in_bf16_the_errors_are_no_larger_than_those_of_the_straightforward_form():
    quick, plain = build(torch.float32, **TINY)
    clips = clips_for(TINY, torch.float32, batch=8)
    ours, theirs = (errors_in_bf16(model, build(**TINY)[1], clips) for model in (quick, plain))
    assert ours[0] <= 1.3 * theirs[0] and ours[1] <= 1.3 * theirs[1]


def test_a_block_takes_float32_maps_under_autocast_and_gives_such():
    models = build(torch.float32, **TINY)
    x = torch.randn(2, 2, 4, 4, 16, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert models[0].blocks2[0](x).dtype == torch.float32
    ours, theirs = (errors_in_bf16(model.blocks2[0], build(**TINY)[1].blocks2[0], x) for model in models)
    assert ours[0] <= 1.3 * theirs[0] and ours[1] <= 1.3 * theirs[1]


def test_recomputed_blocks_have_the_same_gradients():
    arguments = {**TINY, "drop_path": 0.5}
    quick, _ = build(**arguments)
    clips = clips_for(arguments)
    expected_logits, expected = gradients(quick, clips)
    again, _ = build(**arguments)
    again.set_grad_checkpointing()
    logits, ours = gradients(again, clips)
    assert torch.equal(logits, expected_logits)
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def rounding_of_block(dtype, longest_sum):
    """Relative difference that rounding alone allows between two orders of summation in one block.

    About 20 products follow each other from the input to a gradient. A float32 sum of n terms is off by
    about sqrt(n) units of roundoff, in either order, hence eps for the difference. Under autocast sums are
    float32 and only their results are rounded to bf16. These roundings are independent: they add up to
    sqrt(20) * eps, which is 0.035.
    """
    num_products = 20
    if dtype == torch.float32:
        return num_products * longest_sum**0.5 * torch.finfo(dtype).eps
    return 0.05


@pytest.mark.parametrize(("stage", "dtype"), [(1, torch.bfloat16), (4, torch.float32)])
def test_the_compilers_graph_of_a_block_has_the_same_outputs_and_gradients(stage, dtype):
    quick, _ = build(torch.float32, **TINY)
    block = getattr(quick, f"blocks{stage}")[0]
    side, dim = {1: (8, 8), 4: (1, 64)}[stage]
    x = torch.randn(2, 2, side, side, dim, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        expected_out, expected = gradients(block, x)
        for parameter in block.parameters():
            parameter.grad = None
        compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
        out, ours = gradients(compiled, x)
    tolerance = rounding_of_block(dtype, longest_sum=4 * dim)
    assert (out - expected_out).abs().max() <= tolerance * expected_out.abs().max()
    ours = {name.removeprefix("_orig_mod."): gradient for name, gradient in ours.items()}
    demand_equal_gradients(ours, expected, tolerance)


def test_branches_are_dropped_by_the_same_draws_as_torchvisions():
    x = torch.ones(64, 2, 3)
    torch.manual_seed(5)
    expected = StochasticDepth(0.3, mode="row")(x)
    torch.manual_seed(5)
    assert torch.equal(x * drop_path_scale(StochasticDepth(0.3, mode="row"), x), expected)
    assert drop_path_scale(StochasticDepth(0.3, mode="row").eval(), x) is None
    assert drop_path_scale(StochasticDepth(0.0, mode="row"), x) is None


def test_all_stages_keep_the_arithmetic_of_autocast():
    quick, _ = build(torch.float32, **TINY)
    kinds = []
    for _, blocks in quick.stages():
        blocks[0].register_forward_pre_hook(lambda module, inputs: kinds.append(inputs[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quick(clips_for(TINY, torch.float32))
    assert kinds == [torch.bfloat16] * 4
