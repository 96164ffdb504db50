"""Mobile-Former, image and video, against the papers' facts and the outputs of the authors' image code."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from slowfast_mlp.engine.flops import count_flops, count_parameters
from slowfast_mlp.kernels.fused import use_reference
from slowfast_mlp.layers.cross_attention_bridge import DynamicReLU, Former, FormerToMobile, MobileToFormer
from slowfast_mlp.layers.depthwise import TEMPORAL_STD, DepthwiseConv, TemporalKernel
from slowfast_mlp.models import mobile_former
from slowfast_mlp.models.mobile_former import VARIANTS, MobileFormer
from tests.models.golden import golden_clip, golden_weights, read_golden

TINY = dict(
    crop_size=32, stem_dim=4, num_tokens=3, token_dim=8, fc_dim=16,
    blocks=(("lite", 8, 4, 2), ("D", 8, 6, 12), ("M", 12, 6)),
)  # fmt: skip
# Variant, parameters of the authors' code, multiply-adds as fvcore counts them, millions as published.
IMAGE_FIGURES = [
    ("508M", 13_976_976, 510_571_616, 508),
    ("294M", 11_422_648, 295_373_952, 294),
    ("214M", 9_425_920, 215_205_920, 214),
    ("151M", 7_595_828, 151_974_768, 151),
    ("96M", 4_585_252, 96_296_816, 96),
    ("52M", 3_469_092, 51_758_400, 52),
    ("26M", 3_232_788, 26_018_112, 26),
]
# Of a reconstruction made apart from this one, 400 classes: millions of parameters, and of multiply-adds of
# convolutions, linear layers and attention: for a frame, and for a clip whatever its length. Each for none,
# dw1+2d, dw3d.
VIDEO_FIGURES = [
    ("26M", (2.62, 2.62, 2.66), (18.3, 19.8, 29.2), 4.6),
    ("52M", (2.85, 2.86, 2.90), (44.1, 45.5, 54.9), 4.6),
    ("96M", (3.82, 3.82, 3.88), (84.6, 86.8, 107.6), 6.6),
    ("151M", (6.83, 6.84, 6.91), (123.5, 126.6, 151.8), 22.0),
    ("214M", (8.47, 8.48, 8.57), (183.4, 187.0, 217.0), 24.1),
    ("294M", (10.27, 10.28, 10.40), (259.4, 264.2, 302.2), 26.2),
    ("508M", (12.82, 12.84, 12.99), (468.0, 474.6, 529.2), 29.3),
]


def build(variant, num_frames=1, num_classes=10, **arguments):
    return MobileFormer(
        num_classes=num_classes, num_frames=num_frames, **{"crop_size": 224, **VARIANTS[variant], **arguments}
    )


def tiny(num_frames, seed=0, **arguments):
    """A float64 model away from its start, in which every branch says something."""
    torch.manual_seed(seed)
    model = MobileFormer(num_classes=3, num_frames=num_frames, **{**TINY, **arguments}).double().eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point() and not any(
                part in name for part in mobile_former.NOT_IN_IMAGE_WEIGHTS
            ):
                value.add_(0.2 * torch.randn_like(value))
    return model


@pytest.mark.parametrize(("variant", "parameters", "flops", "published"), IMAGE_FIGURES)
def test_image_parameters_are_the_authors_to_the_unit(variant, parameters, flops, published):
    with torch.device("meta"):
        assert count_parameters(build(variant, num_classes=1000)) == parameters


@pytest.mark.parametrize(("variant", "parameters", "flops", "published"), IMAGE_FIGURES)
def test_image_multiply_adds_are_the_published_ones(variant, parameters, flops, published):
    assert count_flops(build(variant, num_classes=1000), (3, 1, 224, 224)) == flops
    assert flops / 1e6 == pytest.approx(published, rel=0.007)


@pytest.mark.parametrize("kind", range(3), ids=("none", "dw1+2d", "dw3d"))
@pytest.mark.parametrize(("variant", "parameters", "per_frame", "constant"), VIDEO_FIGURES)
def test_video_figures_are_those_of_the_reconstruction(variant, parameters, per_frame, constant, kind):
    temporal = ("none", "dw1+2d", "dw3d")[kind]
    with use_reference(), FlopCounterMode(display=False) as counter, torch.device("meta"):
        model = build(variant, 8, num_classes=400, temporal=temporal).eval()
        model(torch.empty(1, 3, 8, 224, 224))
    assert count_parameters(model) / 1e6 == pytest.approx(parameters[kind], abs=0.0051)
    assert counter.get_total_flops() / 2e6 == pytest.approx(8 * per_frame[kind] + constant, rel=0.003)


def test_golden_logits_and_names_of_the_authors_code():
    golden = read_golden("mobile_former_294m")
    model = build("294M", num_classes=1000).eval()
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == golden["shapes"]
    assert model.load_state_dict(golden_weights(golden["shapes"]), strict=False).unexpected_keys == []
    expected = torch.tensor(golden["logits"], dtype=torch.float64)
    with torch.inference_mode():
        assert (model(golden_clip(1))[0] - expected).abs().max() < 1e-4
        assert (model.double()(golden_clip(1, torch.float64))[0] - expected).abs().max() < 1e-8


def test_the_head_is_the_layer_of_its_name():
    model = tiny(2)
    clips = torch.randn(2, 3, 2, 32, 32, dtype=torch.float64)
    head = model.get_submodule(mobile_former.HEAD)
    assert torch.equal(head(model.forward_features(clips)), model(clips))


def test_one_clip_can_be_judged_but_not_learnt_from():
    model = tiny(1).float()
    assert model(torch.randn(1, 3, 1, 32, 32)).shape == (1, 3)
    with pytest.raises(ValueError, match=r"TRAIN.BATCH_SIZE gives a process 1 clip.*Use 2 or more"):
        model.train()(torch.randn(1, 3, 1, 32, 32))


def test_mobile_to_former_is_the_papers_equation_with_the_gate():
    torch.manual_seed(0)
    layer = MobileToFormer(6, 8).double()
    x = torch.randn(2 * 3, 6, 2, 5, dtype=torch.float64)
    z = torch.randn(2, 4, 8, dtype=torch.float64)
    for b in range(2):
        places = x[3 * b : 3 * b + 3].permute(0, 2, 3, 1).reshape(30, 6)  # of all frames of the clip
        seen = torch.zeros(4, 6, dtype=torch.float64)
        for m in range(4):
            query = layer.q(z[b, m])
            for c in (slice(0, 3), slice(3, 6)):
                shares = torch.softmax(torch.stack([query[c] @ place[c] for place in places]) / 3**0.5, 0)
                seen[m, c] = sum(share * place[c] for share, place in zip(shares, places))
        gate = 2 * ((layer.alpha[0](z[b]) + 3).clamp(0, 6) / 6)
        assert torch.allclose(layer(x, z)[b], layer.layer_norm(z[b] + layer.proj(gate * seen)))


def test_former_to_mobile_is_the_papers_equation():
    torch.manual_seed(0)
    layer = FormerToMobile(6, 8).double()
    x = torch.randn(2 * 3, 6, 2, 5, dtype=torch.float64)
    z = torch.randn(2, 4, 8, dtype=torch.float64)
    y = layer(x, z)
    for frame in range(6):
        keys, values = layer.k(z[frame // 3]), layer.proj(z[frame // 3])
        place = x[frame, :, 1, 2]
        for c in (slice(0, 3), slice(3, 6)):
            shares = torch.softmax(keys[:, c] @ place[c] / 3**0.5, 0)
            assert torch.allclose(y[frame, c, 1, 2], place[c] + shares @ values[:, c])


def test_former_is_attention_of_four_heads_and_a_perceptron_both_normalised_after():
    torch.manual_seed(0)
    layer = Former(8).double()
    z = torch.randn(2, 3, 8, dtype=torch.float64)
    seen = torch.zeros_like(z)
    for c in (slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)):
        shares = torch.softmax(layer.q(z)[..., c] @ z[..., c].transpose(1, 2) / 2**0.5, -1)
        seen[..., c] = shares @ z[..., c]
    after = layer.layer_norm(z + layer.channel_mlp(seen))
    assert torch.allclose(layer(z), layer.ffn_norm(after + layer.ffn(after)))


def test_dynamic_relu_takes_the_larger_of_two_slopes():
    torch.manual_seed(0)
    layer = DynamicReLU(5, 8).double()
    x = torch.randn(2 * 3, 5, 2, 2, dtype=torch.float64)
    z = torch.randn(2, 4, 8, dtype=torch.float64)
    p = layer.hyper(z[:, 0]).repeat_interleave(3, dim=0)[..., None, None]
    expected = torch.maximum((2 * (p[:, :5] - 0.5) + 1) * x, 2 * (p[:, 5:] - 0.5) * x)
    assert torch.allclose(layer(x, z), expected)


def test_dynamic_relu_is_relu_when_its_last_layer_is_zero():
    layer = DynamicReLU(5, 8)
    torch.nn.init.zeros_(layer.hyper[2].weight), torch.nn.init.zeros_(layer.hyper[2].bias)
    x = torch.randn(6, 5, 2, 2)
    assert torch.allclose(layer(x, torch.randn(2, 4, 8)), x.relu())


@pytest.mark.parametrize("stride", [1, 2])
def test_a_depthwise_convolution_over_time_is_conv3d_with_the_weight_in_the_middle(stride):
    time = TemporalKernel(num_frames=4, kind="dw3d", kernel_len=5, std=0.3)
    conv = DepthwiseConv(3, 6, stride=stride, time=time)
    conv.reset_temporal_parameters()
    kernel = torch.cat([conv.side_taps[:, :, :2], conv.weight[:, :, None], conv.side_taps[:, :, 2:]], dim=2)
    clips = torch.randn(2, 3, 4, 7, 7)
    expected = torch.conv3d(clips, kernel, stride=(1, stride, stride), padding=(2, 1, 1), groups=3)
    got = conv(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (2, 4)).transpose(1, 2)
    assert torch.allclose(got, expected, atol=1e-5)


def test_a_separable_convolution_is_one_over_time_and_then_one_over_space():
    conv = DepthwiseConv(
        3, 6, stride=2, time=TemporalKernel(num_frames=4, kind="dw1+2d", kernel_len=3, std=0.3)
    )
    conv.reset_temporal_parameters()
    assert (conv.time_weight[:, :, 1] == 1).all()
    clips = torch.randn(2, 3, 4, 8, 8)
    timed = torch.conv3d(clips, conv.time_weight[..., None], padding=(1, 0, 0), groups=3)
    expected = torch.conv2d(timed.transpose(1, 2).flatten(0, 1), conv.weight, stride=2, padding=1, groups=3)
    assert torch.allclose(conv(clips.transpose(1, 2).flatten(0, 1)), expected, atol=1e-5)


@pytest.mark.parametrize("temporal", TEMPORAL_STD)
@pytest.mark.parametrize("num_frames", [2, 5])
def test_image_weights_give_the_image_models_logits_on_a_still_clip(temporal, num_frames):
    image = tiny(1)
    video = tiny(num_frames, seed=1, temporal=temporal, temporal_std=0.0)
    report = video.load_state_dict(mobile_former.from_image_weights(image.state_dict(), video), strict=False)
    assert report.unexpected_keys == []
    assert all(any(part in key for part in mobile_former.NOT_IN_IMAGE_WEIGHTS) for key in report.missing_keys)
    picture = torch.randn(2, 3, 1, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(video(picture.expand(-1, -1, num_frames, -1, -1)), image(picture), atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "shows"),
    [
        (dict(), False),
        (dict(temporal_std=0.2), True),
        (dict(temporal="dw1+2d", temporal_std=0.0), False),
        (dict(temporal="dw1+2d"), True),
        (dict(temporal="none"), False),
    ],
)
def test_the_order_of_frames_shows_through_the_side_taps_alone(arguments, shows):
    model = tiny(4, **arguments)
    clips = torch.randn(1, 3, 4, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(model(clips), model(clips.flip(2)), atol=1e-12) != shows


def test_one_changed_frame_changes_all_frames_from_the_first_block_with_tokens_on():
    model = tiny(3, temporal="none")
    clips = torch.randn(1, 3, 3, 32, 32, dtype=torch.float64)
    changed = clips.clone()
    changed[:, :, 2] += 1
    maps = []
    model.features[0].register_forward_hook(lambda _, __, out: maps.append(out[0]))
    model.features[1].register_forward_hook(lambda _, __, out: maps.append(out[0]))
    with torch.no_grad():
        model(clips), model(changed)
    moved = [(new - old).abs().amax(dim=(1, 2, 3)) > 1e-9 for old, new in zip(maps[:2], maps[2:])]
    assert moved[0].tolist() == [False, False, True]
    assert moved[1].tolist() == [True, True, True]


def test_time_is_convolved_in_the_chosen_stages_only():
    model = build("52M", 4, temporal_stages=(5,))
    kinds = {name: m.time.kind for name, m in model.named_modules() if isinstance(m, DepthwiseConv)}
    assert {name for name, kind in kinds.items() if kind == "dw3d"} == {
        "features.7.conv1.0", "features.7.conv3.0", "features.8.conv2.0",
    }  # fmt: skip
    assert len(kinds) == 12


def test_channels_are_shuffled_where_the_smallest_size_groups_its_convolutions():
    shuffles = {
        n: m.groups for n, m in build("26M").named_modules() if isinstance(m, torch.nn.ChannelShuffle)
    }
    first = {name: groups for name, groups in shuffles.items() if name[:10] in ("features.0", "features.1")}
    assert first == {"features.0.conv.3": 8, "features.1.conv1.2": 4, "features.1.conv3.2": 4}
    assert {shuffles["features.2.conv1.2"], shuffles["classifier.conv.0"]} == {12, 4}
    assert shuffles["features.2.conv3.2"] == 24
    assert not any(isinstance(m, torch.nn.ChannelShuffle) for m in build("52M").modules())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(num_frames=0), "DATA.NUM_FRAMES 0: use 1 for the image model, or 2 and more for video"),
        (dict(crop_size=31), "DATA.TRAIN_CROP_SIZE 31: .*; use 32 or more"),
        (dict(temporal="3d"), r"MODEL.ARGS.temporal '3d': use one of \['dw3d', 'dw1\+2d', 'none'\]"),
        (dict(temporal_kernel=4), "MODEL.ARGS.temporal_kernel 4: use an odd length of 3 or more"),
        (
            dict(temporal_stages=(0, 1)),
            r"MODEL.ARGS.temporal_stages \[0, 1\]: choose from \[1, 2, 3, 4, 5\]",
        ),
        (dict(temporal_std=-1.0), "MODEL.ARGS.temporal_std -1.0: give 0 or more"),
        (dict(token_dim=30), "MODEL.ARGS.token_dim 30: give a multiple of 4"),
        (dict(num_tokens=0), "MODEL.ARGS.num_tokens 0: give 1 or more"),
        (dict(fc_dim=0), "MODEL.ARGS.fc_dim 0: give 1 or more"),
        (dict(stem_dim=0), "MODEL.ARGS.stem_dim 0: give 1 or more"),
        (dict(dropout=1.0), "MODEL.ARGS.dropout 1.0: give a rate"),
        (dict(groups=3), r"MODEL.ARGS.groups 3: use one of \[1, 2, 4\], which divide"),
        (dict(blocks=()), r"MODEL.ARGS.blocks \[\]: give one row or more"),
        (dict(blocks=[[]]), r"MODEL.ARGS.blocks \[\]: use one of \['lite', 'M', 'D'\]"),
        (dict(blocks=[["M", 8.5, 8]]), r"MODEL.ARGS.blocks \['M', 8.5, 8\]: give 'M', h, C', each 1"),
        (dict(blocks=[["L", 8, 8]]), r"MODEL.ARGS.blocks \['L', 8, 8\]: use one of \['lite', 'M', 'D'\]"),
        (
            dict(blocks=[["D", 16, 8]]),
            r"MODEL.ARGS.blocks \['D', 16, 8\]: give 'D', h1, C', h2, each 1 or more",
        ),
        (dict(blocks=[["lite", 16, 8, 3]]), r"blocks \['lite', 16, 8, 3\]: use a stride of 1 or 2"),
        (dict(blocks=[["D", 20, 8, 16]]), r"blocks \['D', 20, 8, 16\]: 20 must be a multiple of 8"),
        (dict(blocks=[["D", 16, 8, 20]]), r"blocks \['D', 16, 8, 20\]: 20 must be a multiple of 8"),
        (dict(blocks=[["M", 16, 7]]), r"blocks \['M', 16, 7\]: the width 7 must be even"),
    ],
)
def test_a_misfit_is_refused_with_the_legal_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        build("26M", **{"num_frames": 4, **arguments})


@pytest.mark.parametrize(
    ("arguments", "takes_other_lengths"),
    [
        ({}, False),
        ({"temporal": "dw1+2d"}, False),
        ({"temporal": "none"}, True),
        ({"temporal_stages": ()}, True),
    ],
)
def test_clips_may_have_any_number_of_frames_where_time_is_not_convolved(arguments, takes_other_lengths):
    model = MobileFormer(num_classes=5, num_frames=4, **TINY, **arguments).eval()
    assert model.clip_sizes.accepts(6, 48) == takes_other_lengths
    if takes_other_lengths:
        assert model(torch.randn(2, 3, 6, 48, 48)).isfinite().all()
