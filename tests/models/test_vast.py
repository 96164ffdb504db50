"""VAST and AST against the equations of the reconstruction; its sizes are ours, not the paper's."""

import math

import pytest
import torch
from torch.nn import functional as F

from slowfast_mlp.engine.flops import count_flops, count_parameters
from slowfast_mlp.layers.affine_shift import (
    SPATIAL_SHIFTS,
    TEMPORAL_SHIFTS,
    AffineShift,
    DepthwiseConvCL,
    shift,
)
from slowfast_mlp.models import vast
from slowfast_mlp.models.vast import GATES, VARIANTS, VAST, Block

TINY = dict(crop_size=64, depths=(1, 1, 1, 1), dims=(8, 16, 32, 64))
ALL_STEPS = SPATIAL_SHIFTS + TEMPORAL_SHIFTS
# Variant, frames, classes, parameters, fvcore's multiply-adds with 5 an element of every LayerNorm: the
# reconstruction's own figures.
FIGURES = [
    ("Ti", 1, 1000, 27_014_584, 3_934_616_064),
    ("S", 1, 1000, 45_696_568, 7_420_826_112),
    ("B", 1, 1000, 80_798_120, 13_151_528_960),
    ("Ti", 8, 400, 26_632_672, 31_669_466_112),
]


def build(variant, num_frames, num_classes, **arguments):
    return VAST(
        num_classes=num_classes, num_frames=num_frames, **{"crop_size": 224, **VARIANTS[variant], **arguments}
    )


def tiny(num_frames, **arguments):
    """In float64, with parameters away from their start."""
    torch.manual_seed(0)
    model = VAST(num_classes=3, num_frames=num_frames, **{**TINY, **arguments}).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def affine_shift(dim, **arguments):
    defaults = dict(
        shifts=ALL_STEPS, shift_divisor=8, gate="pooled", reduction=4, bias_kernel=3, bias_kernel_frames=3,
        out_proj=True,
    )  # fmt: skip
    return AffineShift(dim, **{**defaults, **arguments}).double()


@pytest.mark.parametrize(("variant", "num_frames", "num_classes", "parameters", "flops"), FIGURES)
def test_parameters(variant, num_frames, num_classes, parameters, flops):
    with torch.device("meta"):
        assert count_parameters(build(variant, num_frames, num_classes)) == parameters


@pytest.mark.parametrize(("variant", "num_frames", "num_classes", "parameters", "flops"), FIGURES)
def test_multiply_adds(variant, num_frames, num_classes, parameters, flops):
    assert count_flops(build(variant, num_frames, num_classes), (3, num_frames, 224, 224)) == flops


@pytest.mark.parametrize(
    ("variant", "params_m", "pooled", "token"),
    [("Ti", 27.01, 3.916, 4.090), ("S", 45.70, 7.393, 7.739), ("B", 80.80, 13.113, 13.729)],
)
def test_the_closed_formula_of_the_reconstruction_is_met(variant, params_m, pooled, token):
    with torch.device("meta"):
        assert count_parameters(build(variant, 1, 1000)) / 1e6 == pytest.approx(params_m, abs=0.005)
    for gate, giga in (("pooled", pooled), ("token", token)):
        flops = count_flops(build(variant, 1, 1000, gate=gate), (3, 1, 224, 224))
        assert flops / 1e9 == pytest.approx(giga, rel=0.005)


def test_the_cost_of_every_frame_is_the_same():
    costs = [count_flops(VAST(num_classes=3, num_frames=T, **TINY), (3, T, 64, 64)) for T in (2, 3, 8)]
    assert costs[2] - costs[1] == 5 * (costs[1] - costs[0])


def reference_shift(x, fold):
    """Element by element: channel c of group c // fold comes from a neighbour, or is zero at the border."""
    # T, H, W of the neighbour that a group is taken from: H+, H-, W+, W-, T+, T-.
    sources = [(0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1), (-1, 0, 0), (1, 0, 0)]
    y = torch.zeros_like(x)
    T, H, W, C = x.shape[1:]
    for t in range(T):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    dt, dh, dw = sources[c // fold] if c // fold < len(sources) else (0, 0, 0)
                    if 0 <= t + dt < T and 0 <= h + dh < H and 0 <= w + dw < W:
                        y[:, t, h, w, c] = x[:, t + dt, h + dh, w + dw, c]
    return y


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 17), (1, 2, 1, 3, 8), (1, 1, 2, 1, 12)])
def test_the_shift_takes_every_element_from_its_neighbour(shape):
    fold = shape[-1] // 8
    x = torch.randn(shape)
    assert torch.equal(shift(x, fold, ALL_STEPS), reference_shift(x, fold))


def test_the_shift_is_a_roll_with_the_border_set_to_zero():
    x = torch.randn(2, 4, 5, 6, 16)
    expected = x.clone()
    for group, (axis, step) in enumerate([(2, 1), (2, -1), (3, 1), (3, -1), (1, 1), (1, -1)]):
        channels = slice(2 * group, 2 * group + 2)
        rolled = x[..., channels].roll(step, dims=axis)
        rolled.select(axis, 0 if step == 1 else -1).zero_()
        expected[..., channels] = rolled
    assert torch.equal(shift(x, 2, ALL_STEPS), expected)


def test_a_group_that_goes_down_has_a_border_of_zeros_and_then_the_row_above():
    x = torch.randn(1, 1, 3, 3, 8)
    down = shift(x, 1, SPATIAL_SHIFTS)[0, 0, :, :, 0]
    assert not down[0].any()
    assert torch.equal(down[1:], x[0, 0, :-1, :, 0])


def test_on_an_axis_of_one_position_both_of_its_groups_are_zero():
    y = shift(torch.ones(1, 1, 1, 3, 8), 1, ALL_STEPS)
    assert not y[..., [0, 1, 4, 5]].any()
    assert y[..., [6, 7]].all()


def test_the_gradient_of_a_shift_goes_back_to_where_the_element_came_from():
    x = torch.randn(1, 2, 3, 3, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: shift(x, 1, ALL_STEPS), x)


@pytest.mark.parametrize(("kernel_size", "kernel_frames"), [(3, 3), (5, 1), (1, 5)])
def test_the_depthwise_convolution_is_its_sum(kernel_size, kernel_frames):
    layer = DepthwiseConvCL(2, kernel_size=kernel_size, kernel_frames=kernel_frames).double()
    x = torch.randn(2, 3, 4, 5, 2, dtype=torch.float64)
    y = layer.conv.bias.expand_as(x).clone()
    weight = layer.conv.weight.reshape(2, kernel_frames, kernel_size, kernel_size)
    half, half_frames = kernel_size // 2, kernel_frames // 2
    padded = F.pad(x, (0, 0, half, half, half, half, half_frames, half_frames))
    for t in range(kernel_frames):
        for h in range(kernel_size):
            for w in range(kernel_size):
                y = y + weight[:, t, h, w] * padded[:, t : t + 3, h : h + 4, w : w + 5]
    assert torch.allclose(layer(x), y)


def reference_gate(layer, seen):
    """sigmoid(W2 GELU(W1 a + b1) + b2), with GELU as the equation has it."""
    hidden = seen @ layer.gate.fc1.weight.T + layer.gate.fc1.bias
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    return 1 / (1 + torch.exp(-(hidden @ layer.gate.fc2.weight.T + layer.gate.fc2.bias)))


@pytest.mark.parametrize("gate", GATES)
def test_the_mixer_is_its_equation(gate):
    torch.manual_seed(0)
    layer = affine_shift(16, gate=gate)
    x = torch.randn(2, 3, 4, 4, 16, dtype=torch.float64)
    values = x @ layer.value.weight.T + layer.value.bias
    shifted, bias = reference_shift(values, 2), layer.bias(values)
    expected = torch.zeros_like(x)
    for b in range(2):
        for t in range(3):
            for h in range(4):
                for w in range(4):
                    seen = values[b, t, h, w] if gate == "token" else values[b].mean(dim=(0, 1, 2))
                    scale = reference_gate(layer, seen) if gate != "none" else 1
                    mixed = scale * shifted[b, t, h, w] + bias[b, t, h, w]
                    expected[b, t, h, w] = layer.proj.weight @ mixed + layer.proj.bias
    assert torch.allclose(layer(x), expected)


def test_bias_gate_and_projection_can_be_left_out():
    layer = affine_shift(16, gate="none", bias_kernel=None, out_proj=False)
    x = torch.randn(1, 2, 3, 3, 16, dtype=torch.float64)
    assert torch.equal(layer(x), shift(layer.value(x), 2, ALL_STEPS))
    assert [name for name, _ in layer.named_parameters()] == ["value.weight", "value.bias"]


def test_a_block_is_the_pre_norm_layer():
    block = Block(16, mixer=affine_shift(16), mlp_ratio=2, norm_eps=1e-6, drop_path=0.0).double()
    x = torch.randn(1, 2, 3, 3, 16, dtype=torch.float64)
    y = x + block.mixer(F.layer_norm(x, (16,), eps=1e-6))
    normed = F.layer_norm(y, (16,), eps=1e-6)
    assert torch.allclose(block(x), y + block.mlp.fc2(F.gelu(block.mlp.fc1(normed))))


def test_the_image_model_moves_half_of_the_channels_and_the_video_model_three_quarters():
    for num_frames, num_moved in ((1, 4), (4, 6)):
        mixer = tiny(num_frames).blocks1[0].mixer
        assert len(mixer.shifts) * mixer.fold == num_moved  # of 8


def test_maps_are_a_4th_to_a_32nd_of_the_crop():
    model = tiny(2)
    sizes = []
    for stage in (1, 2, 3, 4):
        embed = getattr(model, f"patch_embed{stage}")
        embed.register_forward_hook(lambda _, inputs, output: sizes.append(tuple(output.shape[1:4])))
    model(torch.randn(1, 3, 2, 64, 64, dtype=torch.float64))
    assert sizes == [(2, 16, 16), (2, 8, 8), (2, 4, 4), (2, 2, 2)]


def test_dropout_is_a_half_for_video_and_none_for_images_unless_given():
    assert [tiny(2).dropout.p, tiny(1).dropout.p, tiny(2, dropout=0.1).dropout.p] == [0.5, 0, 0.1]


def test_drop_path_grows_linearly_from_zero_over_all_blocks():
    model = build("Ti", 1, 10, drop_path=0.11)
    blocks = [block for stage in (1, 2, 3, 4) for block in getattr(model, f"blocks{stage}")]
    assert [block.drop_path.p for block in blocks] == pytest.approx([0.01 * n for n in range(12)])


def test_kernels_start_with_the_spread_of_their_fan_out():
    torch.manual_seed(0)
    model = build("Ti", 8, 10)
    depthwise, embed = model.blocks4[0].mixer.bias.conv.weight, model.patch_embed2.proj.weight
    assert depthwise.std().item() == pytest.approx(math.sqrt(2 / 27), rel=0.02)
    assert embed.std().item() == pytest.approx(math.sqrt(2 / (9 * 192)), rel=0.02)
    assert model.blocks4[0].mixer.value.weight.std().item() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("bias_kernel_frames", [1, 3, 5])
@pytest.mark.parametrize("gate", GATES)
def test_inflated_image_weights_give_the_image_models_logits_on_a_still_clip(gate, bias_kernel_frames):
    """With the channels of T+ and T- at rest, as they are in the image model."""
    image = tiny(1, gate=gate)
    video = tiny(6, gate=gate, bias_kernel_frames=bias_kernel_frames, shift_time=False)
    video.load_state_dict(vast.from_image_weights(image.state_dict(), video))
    picture = torch.randn(2, 3, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(video(picture.expand(-1, -1, 6, -1, -1)), image(picture), atol=1e-12)


@pytest.mark.parametrize("stem_frames", [1, 3])
def test_a_stem_of_convolutions_inflates_as_the_depthwise_kernels_do(stem_frames):
    image = tiny(1, stem="conv")
    video = tiny(6, stem="conv", stem_frames=stem_frames, shift_time=False)
    video.load_state_dict(vast.from_image_weights(image.state_dict(), video))
    picture = torch.randn(2, 3, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(video(picture.expand(-1, -1, 6, -1, -1)), image(picture), atol=1e-12)


def test_a_stem_of_convolutions_is_its_equation():
    stem = tiny(2, stem="conv", stem_frames=3).patch_embed1
    x = torch.randn(1, 2, 8, 8, 3, dtype=torch.float64)

    def halve(x, conv, norm):
        x = F.conv3d(x.movedim(-1, 1), conv.weight, conv.bias, stride=(1, 2, 2), padding=1).movedim(1, -1)
        return F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, eps=1e-6)

    expected = halve(F.gelu(halve(x, stem.convs[0], stem.norms[0])), stem.convs[1], stem.norms[1])
    assert expected.shape == (1, 2, 2, 2, 8)
    assert torch.allclose(stem(x), expected, atol=1e-12)


def test_the_gradients_of_two_frames_are_the_same_in_bf16():
    torch.manual_seed(0)
    model = VAST(num_classes=3, num_frames=2, **TINY, stem="conv", stem_frames=3, dropout=0.0)
    clips = torch.randn(2, 3, 2, 64, 64)
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            model(clips).float().square().sum().backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    kernels = [name for name, value in gradients[0].items() if value.ndim == 5]
    assert len(kernels) == 6
    for name in kernels:
        exact, rounded = gradients[0][name], gradients[1][name]
        assert (exact - rounded).norm() < 0.1 * exact.norm(), name


def test_inflated_image_weights_fill_the_video_model_as_it_is_by_default():
    image, video = tiny(1), tiny(4)
    video.load_state_dict(vast.from_image_weights(image.state_dict(), video))
    kernel = video.blocks2[0].mixer.bias.conv.weight
    assert torch.equal(kernel[:, :, 1], image.blocks2[0].mixer.bias.conv.weight)
    assert not kernel[:, :, [0, 2]].any()


@pytest.mark.parametrize(
    ("arguments", "sees_order"),
    [
        (dict(), True),
        (dict(bias_kernel_frames=1), True),
        (dict(shift_time=False), True),
        (dict(shift_time=False, bias_kernel_frames=1), False),
        (dict(shift_time=False, bias_kernel_frames=1, stem="conv", stem_frames=3), True),
    ],
)
def test_the_shift_and_the_bias_see_the_order_of_frames(arguments, sees_order):
    model = tiny(4, **arguments)
    clip = torch.randn(1, 3, 4, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        change = (model(clip) - model(clip.flip(2))).abs().max()
    assert (change > 1e-4) == sees_order
    assert sees_order or change < 1e-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(num_frames=0), r"DATA.NUM_FRAMES 0: .* Use 1 or more"),
        (dict(crop_size=31), r"DATA.TRAIN_CROP_SIZE 31: .* Use 32 or more"),
        (dict(depths=(2, 2, 6)), r"MODEL.ARGS.depths \[2, 2, 6\]: give 4 numbers"),
        (dict(gate="mean"), r"MODEL.ARGS.gate 'mean': use one of pooled, token, none"),
        (dict(reduction=5), r"MODEL.ARGS.reduction 5 .* Use one of \[1, 2, 3, 4, 6, 8, .*96\]"),
        (dict(shift_divisor=5), r"MODEL.ARGS.shift_divisor 5: each of 6 directions .* Use 6 to 96"),
        (dict(shift_divisor=3, num_frames=1), r"MODEL.ARGS.shift_divisor 3: .* Use 4 to 96"),
        (dict(shift_divisor=97), r"MODEL.ARGS.shift_divisor 97: .* Use 6 to 96"),
        (dict(dims=(5, 10, 20, 40)), r"MODEL.ARGS.dims \[5, 10, 20, 40\]: use widths of 6 or more"),
        (dict(bias_kernel=4), r"MODEL.ARGS.bias_kernel 4: use an odd number .* or null"),
        (dict(bias_kernel_frames=2), r"MODEL.ARGS.bias_kernel_frames 2: use an odd number"),
        (dict(stem="deep"), r"MODEL.ARGS.stem 'deep': use one of patch, conv"),
        (dict(stem="conv", stem_frames=2), r"MODEL.ARGS.stem_frames 2: use an odd number"),
        (dict(stem_frames=3), r"MODEL.ARGS.stem_frames 3: stem patch embeds frame by frame"),
        (dict(mlp_ratio=0), r"MODEL.ARGS.mlp_ratio 0: use 1 or more"),
        (dict(norm_eps=0.0), r"MODEL.ARGS.norm_eps 0.0: use a number above 0"),
        (dict(dropout=1.0), r"MODEL.ARGS.dropout 1.0: give a rate from 0 up to, but not, 1"),
        (dict(drop_path=-0.1), r"MODEL.ARGS.drop_path -0.1: give a rate"),
    ],
)
def test_a_misfit_is_refused_with_the_legal_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        build("Ti", **{"num_frames": 8, "num_classes": 10, **arguments})
