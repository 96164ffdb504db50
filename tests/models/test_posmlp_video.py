"""PosMLP-Video against the paper's facts and the outputs of the authors' own code."""

import itertools

import pytest
import torch

from slowfast_mlp.checkpoint.weights import load_weights
from slowfast_mlp.engine.flops import count_flops, count_parameters
from slowfast_mlp.errors import UserError
from slowfast_mlp.layers.relative_position import GatingUnit, LearnedPosition, infer_window, relative_index
from slowfast_mlp.layers.windows import window_partition, window_reverse
from slowfast_mlp.models import posmlp_video
from slowfast_mlp.models.posmlp_video import BLOCKS, VARIANTS, Block, PosMLPVideo
from tests.models.golden import golden_clip, golden_weights, read_golden, sine_input, sine_weights

TINY = dict(crop_size=32, depths=(1, 2, 1, 1), dims=(16, 32, 64, 128), num_groups=(2, 4, 8, 16))
# The authors' code, run: variant, frames, parameters of 174 classes, multiply-adds by fvcore in 10⁹.
FIGURES = [
    ("S", 8, 13_500_297, 20.13),
    ("S", 16, 13_509_537, 40.49),
    ("S", 32, 13_528_017, 81.85),
    ("B", 16, 18_983_846, 58.93),
    ("B", 32, 19_011_958, 119.17),
    ("S96", 8, 23_682_969, 34.47),
    ("S96", 16, 23_692_209, 69.24),
    ("S96", 32, 23_710_689, 139.66),
    ("B96", 8, 33_249_790, 50.17),
    ("B96", 16, 33_263_846, 100.77),
    ("B96", 32, 33_291_958, 203.28),
]
COUNTED = [row for row in FIGURES if row[3] < 45]  # the others were counted once: they take a minute


def build(variant, num_frames, num_classes=174, **arguments):
    return PosMLPVideo(
        num_classes=num_classes, num_frames=num_frames, **{"crop_size": 224, **VARIANTS[variant], **arguments}
    )


def tiny(num_frames, **arguments):
    """Weights away from the start, at which every block gives its input."""
    torch.manual_seed(0)
    model = PosMLPVideo(num_classes=3, num_frames=num_frames, **{**TINY, **arguments}).double().eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.is_floating_point():
                value.add_(0.1 * torch.randn_like(value))
    return model


@pytest.mark.parametrize(("variant", "num_frames", "parameters", "_"), FIGURES)
def test_parameters_are_the_authors_to_the_unit(variant, num_frames, parameters, _):
    with torch.device("meta"):
        assert count_parameters(build(variant, num_frames)) == parameters


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [("S", 13_639_939), ("B", 19_114_248), ("S96", 23_866_003), ("B96", 33_437_640)],
)
def test_parameters_of_400_classes_are_the_authors(variant, parameters):
    with torch.device("meta"):
        assert count_parameters(build(variant, 16, 400)) == parameters


@pytest.mark.parametrize(("variant", "num_frames", "_", "flops"), COUNTED)
def test_multiply_adds_are_the_authors(variant, num_frames, _, flops):
    counted = count_flops(build(variant, num_frames), (3, num_frames, 224, 224))
    assert round(counted / 1e9, 2) == flops


def test_golden_logits_and_names_of_the_authors_code():
    golden = read_golden("posmlp_video_S_16_ssv1")
    model = build("S", 16).eval()
    official = {key: torch.zeros(shape) for key, shape in golden["shapes"].items()}  # with the index buffers
    state = posmlp_video.from_official({**official, **golden_weights(golden["shapes"])})
    report = load_weights(model, state, source="official")
    assert len(report.loaded) == len(model.state_dict()) == len(official) - 2 * 19
    expected = torch.tensor(golden["logits"], dtype=torch.float64)
    with torch.inference_mode():
        assert (model(golden_clip(16))[0] - expected).abs().max() < 1e-4
        assert (model.double()(golden_clip(16).double())[0] - expected).abs().max() < 1e-8


def test_a_second_set_of_the_authors_outputs():
    model = PosMLPVideo(num_classes=5, num_frames=4, windows=(4, 2, 2, 1), **TINY).double().eval()
    sine_weights(model)
    assert count_parameters(model) == 239_750
    clip = sine_input(1, 3, 4, 32, 32)
    with torch.inference_mode():
        stem = model.patch_embed1(clip)
        block = model.blocks1[0]
        space, time = block.fc(stem), block.t_fc(stem)
        out = window_reverse(block(window_partition(stem, 4)), 4, 8)
        logits = model(clip)[0]
    place = (0, 1, 2, 3, slice(3))
    assert stem.sum().item() == pytest.approx(94.92930862, abs=1e-7)
    assert stem[place].tolist() == pytest.approx([0.15755208, 0.22702045, 0.19625636], abs=1e-8)
    assert out.sum().item() == pytest.approx(4.52839904, abs=1e-7)
    assert out[place].tolist() == pytest.approx([0.23782300, 0.17079704, 0.03481186], abs=1e-8)
    assert time[place].tolist() == pytest.approx([0.01326221, -0.05903462, -0.09836112], abs=1e-8)
    assert space[place].tolist() == pytest.approx([0.06700871, 0.00281121, -0.06308338], abs=1e-8)
    expected = [-0.87455230, -1.45498001, 1.02004272, 1.18752616, -1.33863172]
    assert logits.tolist() == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("window", "num_channels", "expected"),
    [
        (
            (1, 2, 2),
            6,
            [-0.11599274, -0.11435569, -0.11859818, -0.11825294, -0.12118603, -0.12213284,
             -0.05336715, -0.03782844, -0.05673504, -0.03907812, -0.06009599, -0.04033279],
        ),
        (
            (3, 1, 1),
            4,
            [-0.10492669, -0.10250558, -0.10706123, -0.10236810, -0.04939707, -0.03923927,
             -0.04705734, -0.03579709, 0.03285888, 0.03389076, 0.03578877, 0.03492339],
        ),
    ],
)  # fmt: skip
def test_a_unit_alone_gives_the_authors_numbers(window, num_channels, expected):
    unit = LearnedPosition(window, 2, table_init="zeros").double()
    sine_weights(unit)
    mixed = unit(sine_input(1, *window, num_channels)).flatten()[:12]
    assert mixed.tolist() == pytest.approx(expected, abs=1e-8)


def reference_unit(x, unit, num_groups):
    """The gating unit, token by token: (sum over n of A[m, n, c mod G] · u[n, c] + b[m]) · v[m, c]."""
    t, h, w = unit.pos.window
    table = unit.pos.window_relative_position_bias_table
    bias = unit.pos.token_proj_n_bias.flatten()
    u, v = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    y = torch.zeros_like(u)
    for m in itertools.product(*(range(size) for size in x.shape[1:4])):
        start = [place // side * side for place, side in zip(m, (t, h, w))]
        inner = [place - first for place, first in zip(m, start)]
        for channel in range(u.shape[-1]):
            value = bias[(inner[0] * h + inner[1]) * w + inner[2]].clone()
            for n in itertools.product(range(t), range(h), range(w)):
                dt, dy, dx = (a - b for a, b in zip(inner, n))
                row = ((dt + t - 1) * (2 * h - 1) + dy + h - 1) * (2 * w - 1) + dx + w - 1
                place = [first + step for first, step in zip(start, n)]
                value = value + table[row, channel % num_groups] * u[(0, *place, channel)]
            y[(0, *m, channel)] = value * v[(0, *m, channel)]
    return y


@pytest.mark.parametrize("window", [(4, 1, 1), (2, 1, 1), (1, 2, 2), (2, 2, 2), (4, 2, 2)])
def test_the_units_for_time_space_and_both_are_the_papers_equation(window):
    torch.manual_seed(0)
    unit = GatingUnit(LearnedPosition(window, 3, table_init="trunc_normal")).double()
    torch.nn.init.normal_(unit.pos.token_proj_n_bias)
    x = torch.randn(1, 4, 2, 4, 12, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(unit(x), reference_unit(x, unit, 3), atol=1e-12)


def test_the_rows_of_the_tables_are_the_authors_index_buffers():
    assert relative_index((5, 1, 1))[0].tolist() == [4, 3, 2, 1, 0]
    assert relative_index((1, 2, 2)).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_the_sum_its_type_says(block):
    torch.manual_seed(0)
    windows = posmlp_video._branch_windows(block, 4, 2, video=True)
    layer = Block(8, block=block, windows=windows, num_groups=2, table_init="trunc_normal", rate=0.0).double()
    x = torch.randn(2, 4, 4, 4, 8, dtype=torch.float64)
    S, T = layer.fc, getattr(layer, "t_fc", None)
    expected = {
        "parallel": lambda: x + S(x) + T(x),
        "t_then_s": lambda: x + T(x) + S(x + T(x)),
        "s_then_t": lambda: x + S(x) + T(x + S(x)),
        "joint": lambda: x + S(x),
    }[block]()
    assert torch.allclose(window_reverse(layer(window_partition(x, 2)), 2, 4), expected)
    assert S.encoder.gate_unit.pos.window == ((4, 2, 2) if block == "joint" else (1, 2, 2))


def test_a_branch_is_the_papers_equation():
    encoder = tiny(4).blocks1[0].fc.encoder
    x = torch.randn(1, 4, 8, 8, 16, dtype=torch.float64)
    u, v = torch.nn.functional.gelu(encoder.fc1(encoder.norm(x))).chunk(2, dim=-1)
    assert torch.allclose(encoder(x), encoder.fc2(encoder.gate_unit.pos(u) * v))


def test_every_block_gives_its_input_at_the_start_and_not_with_drawn_tables():
    x = torch.randn(1, 4, 8, 8, 16)
    for table_init, silent in (("zeros", True), ("trunc_normal", False)):
        model = PosMLPVideo(num_classes=3, num_frames=4, table_init=table_init, **TINY)
        assert torch.equal(model.blocks1[0](x), x) == silent


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_type_trains_all_its_parameters(block):
    model = tiny(4, block=block, time_windows=(2, 4, 1, 2)).train()
    model(torch.randn(2, 3, 4, 32, 32, dtype=torch.float64)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_drop_path_grows_linearly_from_zero_over_all_blocks():
    with torch.device("meta"):
        model = build("S", 16, drop_path=0.18)
    blocks = [block for stage in (1, 2, 3, 4) for block in getattr(model, f"blocks{stage}")]
    assert [block.drop_path.p for block in blocks] == pytest.approx([0.01 * n for n in range(19)])


@pytest.mark.parametrize(
    ("crop_size", "expected"),
    [(224, (14, 14, 14, 7)), (448, (14, 14, 14, 7)), (256, (16, 16, 16, 8)), (32, (2, 2, 2, 1))],
)
def test_windows_are_the_released_ones_or_the_same_share_of_the_map(crop_size, expected):
    with torch.device("meta"):
        model = build("S", 1, crop_size=crop_size)
    sides = [getattr(model, f"blocks{k}")[0].fc.encoder.gate_unit.pos.window for k in (1, 2, 3, 4)]
    assert sides == [(1, side, side) for side in expected]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(crop_size=225), r"DATA.TRAIN_CROP_SIZE 225: .* Use one of \[32, 48, 64.*224.*by stage"),
        (
            dict(windows=(14, 14, 14, 8)),
            r"MODEL.ARGS.windows .*: 8 in stage 4 .* 7 tokens .*224\). Use one of \[1, 7\]",
        ),
        (dict(windows=(14, 14)), r"MODEL.ARGS.windows \[14, 14\]: give 4 numbers"),
        (dict(num_frames=0), r"DATA.NUM_FRAMES 0: use 1"),
        (
            dict(time_windows=(8, 8, 3, 8)),
            r"DATA.NUM_FRAMES 16 .* 3, MODEL.ARGS.time_windows .* stage 3. Use 1 or one of \[24, 48\], "
            r"or time windows of \[1, 2, 4, 8, 16\]",
        ),
        (dict(num_groups=(8, 16, 32, 60)), r"MODEL.ARGS.num_groups .*: 60 in stage 4 .* 576 .* one of \[1, "),
        (dict(dims=(73, 144, 288, 576)), r"MODEL.ARGS.dims .* even"),
        (dict(block="serial"), r"MODEL.ARGS.block 'serial': use one of parallel, t_then_s, s_then_t, joint"),
        (dict(table_init="ones"), r"MODEL.ARGS.table_init 'ones': use one of zeros, trunc_normal"),
        (dict(drop_path=1.0), r"MODEL.ARGS.drop_path 1.0"),
    ],
)  # fmt: skip
def test_a_misfit_is_refused_with_the_legal_values(arguments, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        build("S", **{"num_frames": 16, **arguments})


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("time_windows", [None, (2, 4, 2, 1)])
def test_inflated_image_weights_give_the_image_models_logits_on_a_still_clip(block, time_windows):
    image = tiny(1)
    video = PosMLPVideo(num_classes=3, num_frames=4, block=block, time_windows=time_windows, **TINY)
    video = video.double().eval()
    weights = {  # as from a model of two axes: kernels without a time axis
        name: value.squeeze(2) if value.ndim == 5 else value for name, value in image.state_dict().items()
    }
    state = posmlp_video.fit_weights(posmlp_video.from_image_weights(weights, video), video)
    may_miss = posmlp_video.NOT_IN_IMAGE_WEIGHTS
    load_weights(video, state, source="image", may_miss=may_miss)
    picture = torch.randn(2, 3, 1, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(video(picture.expand(-1, -1, 4, -1, -1)), image(picture), atol=1e-12)
        pictures = torch.randn(1, 3, 4, 32, 32, dtype=torch.float64)
        frames = pictures.transpose(1, 2).reshape(4, 3, 1, 32, 32)
        features = image.forward_features(frames).mean(dim=0)  # a clip is the mean of its frames
        assert torch.allclose(video.forward_features(pictures)[0], features, atol=1e-12)


def test_temporal_tables_are_resampled_for_another_number_of_frames():
    short, long = tiny(4), tiny(8)
    name = "blocks2.1.t_fc.encoder.gate_unit.pos."
    table, bias = name + "window_relative_position_bias_table", name + "token_proj_n_bias"
    state = short.state_dict()
    state[table] = torch.arange(-3.0, 4.0, dtype=torch.float64)[:, None].repeat(1, 4)  # the offset in frames
    state[bias] = torch.tensor([0.0, 1, 2, 3], dtype=torch.float64).reshape(1, 4, 1)
    fitted = posmlp_video.fit_weights(state, long)
    # 15 offsets for 7: offset d of the longer clip is d·7/15 of the shorter, and no further than its ends.
    expected = [max(-3, min(3, d * 7 / 15)) for d in range(-7, 8)]
    assert fitted[table][:, 2].tolist() == pytest.approx(expected)
    assert fitted[bias].flatten().tolist() == pytest.approx([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    load_weights(long, fitted, source="short")
    assert all(fitted[key] is value for key, value in state.items() if ".t_fc." not in key)


def test_what_fits_is_not_resampled_and_what_is_no_table_is_reported():
    model = tiny(4)
    state = dict(model.state_dict())
    assert all(value is state[name] for name, value in posmlp_video.fit_weights(state, model).items())
    name = "blocks1.0.t_fc.encoder.gate_unit.pos.window_relative_position_bias_table"
    state[name] = torch.zeros(8, 2)
    with pytest.raises(UserError, match="1 misshapen"):
        load_weights(model, posmlp_video.fit_weights(state, model), source="file")


@pytest.mark.parametrize("block", ["parallel", "joint"])
def test_windows_of_another_size_are_resampled(block):
    old, new = tiny(4, block=block), tiny(8, block=block, crop_size=64)
    name = "blocks1.0.fc.encoder.gate_unit.pos."
    state = dict(old.state_dict())
    for leaf in ("window_relative_position_bias_table", "token_proj_n_bias"):
        state[name + leaf] = torch.full_like(state[name + leaf], 0.25)
    fitted = posmlp_video.fit_weights(state, new)
    load_weights(new, fitted, source="old")
    for leaf in ("window_relative_position_bias_table", "token_proj_n_bias"):
        assert torch.allclose(fitted[name + leaf], torch.full_like(fitted[name + leaf], 0.25))


def test_a_window_is_known_by_its_tokens_and_offsets():
    for t, side in itertools.product((1, 2, 3, 8, 16, 32), (1, 2, 7, 14, 16)):
        assert infer_window(t * side**2, (2 * t - 1) * (2 * side - 1) ** 2) == (t, side, side)
    assert infer_window(6, 8) is None
