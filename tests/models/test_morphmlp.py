"""MorphMLP against the paper's facts and the outputs of the authors' own code."""

import math

import pytest
import torch

from slowfast_mlp.engine.flops import count_flops, count_parameters
from slowfast_mlp.layers import morph_fc
from slowfast_mlp.models import morphmlp
from slowfast_mlp.models.morphmlp import VARIANTS, MorphFC, MorphMLP, TemporalMorphFC
from tests.models.golden import golden_clip, golden_weights, hashed, hashed_values, read_golden

TINY = dict(crop_size=32, depths=(1, 1, 1, 1), dims=(8, 16, 32, 64))
# Variant, frames, classes, parameters, fvcore's multiply-adds: from the authors' code for video; for images
# the paper prints them rounded (23M/3.9G, 38M/7.0G, 58M/10.2G, 76M/12.5G).
FIGURES = [
    ("S", 16, 400, 47_039_154, 66_360_218_624),
    ("S", 32, 400, 47_463_018, 133_336_692_608),
    ("B", 16, 400, 67_784_382, 97_833_726_144),
    ("B", 32, 400, 68_490_822, 196_695_260_608),
    ("S", 16, 174, 46_861_744, 66_360_041_440),
    ("S", 32, 174, 47_285_608, 133_336_515_424),
    ("B", 16, 174, 67_606_972, 97_833_548_960),
    ("B", 32, 174, 68_313_412, 196_695_083_424),
    ("T", 1, 1000, 23_393_908, 3_979_152_996),
    ("S", 1, 1000, 40_548_122, 6_974_086_112),
    ("B", 1, 1000, 57_979_494, 10_245_892_160),
    ("L", 1, 1000, 76_185_612, 12_486_391_680),
]


def build(variant, num_frames, num_classes, **arguments):
    return MorphMLP(
        num_classes=num_classes, num_frames=num_frames, **{"crop_size": 224, **VARIANTS[variant], **arguments}
    )


@pytest.mark.parametrize(("variant", "num_frames", "num_classes", "parameters", "flops"), FIGURES)
def test_parameters_are_the_papers_to_the_unit(variant, num_frames, num_classes, parameters, flops):
    with torch.device("meta"):
        assert count_parameters(build(variant, num_frames, num_classes)) == parameters


@pytest.mark.parametrize(
    ("variant", "num_frames", "num_classes", "parameters", "flops"),
    [pytest.param(*row, marks=pytest.mark.slow) if row[:2] == ("B", 32) else row for row in FIGURES],
)
def test_multiply_adds_are_the_papers(variant, num_frames, num_classes, parameters, flops):
    if (num_frames == 32 and num_classes == 174) or (variant == "B" and num_classes == 174):
        pytest.skip("differs from the 400-class net by its head alone, which the parameters cover")
    model = build(variant, num_frames, num_classes)
    assert count_flops(model, (3, num_frames, 224, 224)) == flops


def test_golden_logits_and_names_of_the_authors_code():
    golden = read_golden("morphmlp_S_16_k400")
    model = build("S", 16, 400).eval()
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == golden["shapes"]
    assert model.load_state_dict(golden_weights(golden["shapes"]), strict=False).unexpected_keys == []
    expected = torch.tensor(golden["logits"], dtype=torch.float64)
    with torch.inference_mode():
        assert (model(golden_clip(16))[0] - expected).abs().max() < 1e-4
        assert (model.double()(golden_clip(16).double())[0] - expected).abs().max() < 1e-8


@pytest.mark.parametrize(
    ("variant", "num_frames", "num_classes", "first", "total", "spread", "best"),
    [
        ("S", 16, 400, [-0.173363, -0.586232, -0.414192, -0.297251, 0.180322], -5.491083, 0.330973, 199),
        ("S", 32, 174, [-0.157757, -0.616728, -0.395280, -0.308279, 0.196560], -3.344707, 0.341637, 88),
        ("T", 1, 1000, [0.358432, 0.566368, 0.528659, 0.356832, 0.230232], 2.273661, 0.341415, 987),
        ("S", 1, 1000, [-0.328045, -0.194820, 0.126554, 0.538862, 0.465149], 4.484453, 0.313455, 454),
    ],
)
def test_a_second_set_of_the_authors_outputs(variant, num_frames, num_classes, first, total, spread, best):
    model = build(variant, num_frames, num_classes).double().eval()
    hashed(model)
    shape = (1, 3, num_frames, 224, 224)
    clip = torch.from_numpy(4 * hashed_values(999, math.prod(shape))).reshape(shape)
    with torch.inference_mode():  # in fp32, in a quarter of the time; the outputs above are compared in fp64
        logits = model.float()(clip.float())[0].double()
    assert logits[:5].tolist() == pytest.approx(first, abs=2e-6)
    assert logits.sum().item() == pytest.approx(total, abs=2e-5)
    assert logits.std(unbiased=False).item() == pytest.approx(spread, abs=2e-6)
    assert logits.argmax() == best


def reference_rows(x, linear, chunk_len, column_major):
    """The equation of a spatial branch, token by token: y[i, p', s'] = b + sum over p, s of A x[i, p, s]."""
    height, width, dim = x.shape
    size = dim // chunk_len
    tokens = [(h, w) for w in range(width) for h in range(height)] if column_major else None
    tokens = tokens or [(h, w) for h in range(height) for w in range(width)]
    y = torch.zeros_like(x)
    for start in range(0, len(tokens), chunk_len):
        chunk = tokens[start : start + chunk_len]
        for group in range(chunk_len):
            channels = slice(group * size, (group + 1) * size)
            vector = torch.cat([x[h, w, channels] for h, w in chunk])
            for place, part in zip(chunk, linear(vector).split(size)):
                y[place][channels] = part
    return y


@pytest.mark.parametrize(("height", "width", "chunk_len"), [(4, 6, 3), (6, 4, 8), (4, 4, 2)])
def test_spatial_branches_are_the_papers_equation(height, width, chunk_len):
    torch.manual_seed(0)
    layer = MorphFC(24, chunk_len, whole_map=False).double()
    x = torch.randn(2, 2, height, width, 24, dtype=torch.float64)
    h, w, c = torch.zeros_like(x), torch.zeros_like(x), layer.mlp_c(x)
    for b in range(2):
        for t in range(2):
            h[b, t] = reference_rows(x[b, t], layer.mlp_h, chunk_len, column_major=True)
            w[b, t] = reference_rows(x[b, t], layer.mlp_w, chunk_len, column_major=False)
    pooled = (h + w + c).mean(dim=(1, 2, 3))
    gates = layer.reweight(pooled).reshape(2, 24, 3).softmax(-1).reshape(2, 1, 1, 1, 24, 3)
    expected = layer.proj(h * gates[..., 0] + w * gates[..., 1] + c * gates[..., 2])
    assert torch.allclose(layer(x), expected)


def test_the_last_stage_cuts_a_large_map_with_strides():
    layer = MorphFC(8, 4, whole_map=True).double()
    x = torch.randn(1, 1, 2, 4, 8, dtype=torch.float64)
    tokens = x.reshape(8, 4, 2)  # N G S; 2 chunks of 4 places: token = place * 2 + chunk
    expected = torch.zeros_like(tokens)
    for chunk in range(2):
        for group in range(4):
            expected[chunk::2, group] = layer.mlp_h(tokens[chunk::2, group].reshape(-1)).reshape(4, 2)
    assert torch.allclose(layer._mix_strided(x), expected.reshape(x.shape))


def test_the_temporal_mixing_is_the_papers_equation():
    layer = TemporalMorphFC(12, num_positions=4, num_groups=3, init="untied").double()
    x = torch.randn(2, 4, 2, 3, 12, dtype=torch.float64)
    y = torch.zeros_like(x)
    for group in range(3):
        channels = slice(group * 4, group * 4 + 4)
        vectors = x[..., channels].permute(0, 2, 3, 1, 4).reshape(2, 2, 3, 16)  # (t, s), s fastest
        y[..., channels] = layer.mlp_t(vectors).reshape(2, 2, 3, 4, 4).permute(0, 3, 1, 2, 4)
    assert torch.allclose(layer(x), layer.proj(y))


@pytest.mark.parametrize("init", morph_fc.TEMPORAL_INITS)
def test_time_is_silent_at_the_start(init):
    model = MorphMLP(num_classes=3, num_frames=4, temporal_init=init, **TINY)
    t_fc = model.blocks2[0].t_fc
    assert not t_fc(torch.randn(1, 2, 4, 4, 16)).any()


def test_the_official_start_ties_the_channels_of_a_frame_and_the_other_does_not():
    for init, tied in (("official", True), ("untied", False)):
        torch.manual_seed(0)
        layer = TemporalMorphFC(8, num_positions=4, num_groups=2, init=init)
        layer.reset_parameters()
        optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2)
        for _ in range(5):
            optimizer.zero_grad()
            (layer(torch.randn(4, 4, 2, 2, 8)) - 1).square().mean().backward()
            optimizer.step()
        rows = layer.mlp_t.weight.reshape(4, 4, 16)  # T S of the output
        assert torch.allclose(rows, rows[:, :1].expand_as(rows), atol=1e-6) == tied


def test_drop_path_grows_linearly_from_zero_over_all_blocks():
    model = build("S", 1, 10, drop_path=0.18)
    blocks = [block for stage in (1, 2, 3, 4) for block in getattr(model, f"blocks{stage}")]
    assert [block.drop_path.p for block in blocks] == pytest.approx([0.01 * n for n in range(19)])


@pytest.mark.parametrize(
    ("crop_size", "dims", "expected"),
    [
        (224, (112, 224, 392, 784), (14, 28, 28, 49)),
        (224, (84, 168, 336, 588), (14, 28, 28, 49)),
        (448, (112, 224, 392, 784), (14, 28, 28, 49)),
        (64, (32, 64, 128, 128), (4, 8, 8, 4)),
        (32, (8, 16, 32, 64), (2, 4, 4, 1)),
    ],
)
def test_chunk_lengths_are_the_released_ones_or_the_same_share_of_the_map(crop_size, dims, expected):
    model = MorphMLP(num_classes=2, num_frames=1, crop_size=crop_size, depths=(1, 1, 1, 1), dims=dims)
    assert model.chunk_lens == expected


@pytest.mark.parametrize(
    ("variant", "num_frames", "expected"),
    [
        ("S", 16, (8, 8, 8, 8)),
        ("S", 15, (8, 8, 8, 8)),
        ("S", 32, (16, 16, 14, 16)),
        ("S", 8, (4, 4, 4, 4)),
        ("S", 24, (8, 8, 8, 8)),
        ("T", 16, (7, 8, 8, 7)),
    ],
)
def test_temporal_groups_are_the_released_ones_or_the_most_that_divide_the_width(
    variant, num_frames, expected
):
    with torch.device("meta"):
        model = build(variant, num_frames, 2)
    groups = tuple(getattr(model, f"blocks{stage}")[0].t_fc.num_groups for stage in (1, 2, 3, 4))
    assert groups == expected


def test_the_temporal_layer_is_as_wide_as_the_released_ones():
    with torch.device("meta"):
        widths = {frames: build("S", frames, 2).blocks3[0].t_fc.mlp_t.in_features for frames in (16, 32)}
    assert widths == {16: 392, 32: 448}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            dict(crop_size=256),
            r"DATA.TRAIN_CROP_SIZE 256: .* Use one of \[32, 64, 224, 448\].*stage are .*, \[1, 2, 4, 8\], ",
        ),
        (dict(crop_size=225), r"DATA.TRAIN_CROP_SIZE 225"),
        (dict(num_frames=2), r"DATA.NUM_FRAMES 2: use 1 for the image model, or 3 and more"),
        (dict(num_frames=0), r"DATA.NUM_FRAMES 0"),
        (
            dict(chunk_lens=(14, 28, 28, 48)),
            r"MODEL.ARGS.chunk_lens .*: 48 in stage 4 .* Use one of \[1, 7, 49\]",
        ),
        (dict(chunk_lens=(14, 28)), r"MODEL.ARGS.chunk_lens \[14, 28\]: give 4 numbers"),
        (dict(temporal_groups=(8, 8, 9, 8)), r"MODEL.ARGS.temporal_groups .*: 9 in stage 3 .* width 392"),
        (dict(dims=(112, 224, 392, 785)), r"MODEL.ARGS.dims .*multiple of 4"),
        (dict(drop_path=1.0), r"MODEL.ARGS.drop_path 1.0"),
        (dict(temporal_init="zero"), r"MODEL.ARGS.temporal_init 'zero': use one of official, untied"),
    ],
)
def test_a_misfit_is_refused_with_the_legal_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        build("S", **{"num_frames": 16, "num_classes": 10, **arguments})


def test_given_lengths_and_groups_make_other_sizes_fit():
    model = MorphMLP(
        num_classes=2, num_frames=6, crop_size=40, depths=(1, 1, 1, 1), dims=(8, 16, 32, 64),
        chunk_lens=(4, 1, 1, 4), temporal_groups=(4, 4, 4, 4),
    )  # fmt: skip
    assert model(torch.randn(2, 3, 6, 40, 40)).shape == (2, 2)


def test_inflated_image_weights_give_the_image_models_logits_on_a_still_clip():
    """But for the beginning, where the stem pads with a zero frame: repeating it there gives the image's
    value.
    """
    torch.manual_seed(0)
    image = MorphMLP(num_classes=3, num_frames=1, **TINY).double().eval()
    for module in image.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(), module.running_var.uniform_(0.5, 2)
    video = MorphMLP(num_classes=3, num_frames=8, **TINY).double().eval()
    state = morphmlp.from_image_weights(image.state_dict(), video)
    report = video.load_state_dict(state, strict=False)
    assert report.unexpected_keys == []
    assert all(any(part in key for part in morphmlp.NOT_IN_IMAGE_WEIGHTS) for key in report.missing_keys)
    picture = torch.randn(2, 3, 1, 32, 32, dtype=torch.float64)
    clip = picture.expand(-1, -1, 8, -1, -1)
    first = video.patch_embed1.proj1
    first.padding = (0, 1, 1)
    first.register_forward_pre_hook(lambda _, inputs: (torch.cat([inputs[0][:, :, :1], inputs[0]], dim=2),))
    with torch.no_grad():
        assert torch.allclose(video(clip), image(picture), atol=1e-12)
