"""Image PosMLP against the paper's facts and the outputs of the authors' own code."""

import pytest
import torch

from slowfast_mlp.checkpoint.weights import load_weights
from slowfast_mlp.engine.flops import count_flops, count_parameters
from slowfast_mlp.layers.quadratic_position import QuadraticPosition
from slowfast_mlp.layers.windows import window_partition, window_reverse
from slowfast_mlp.models import posmlp
from slowfast_mlp.models.posmlp import VARIANTS, Layer, PosMLP
from tests.models.golden import golden_clip, golden_weights, read_golden, sine_input, sine_weights

TINY = dict(crop_size=32, depths=(1, 2, 1, 1), dims=(16, 32, 64, 128), num_groups=(2, 4, 8, 16))
# The authors' code, run: variant, encoding, parameters of 1000 classes, multiply-adds by fvcore in 10⁹.
FIGURES = [
    ("T", "quadratic", 20_925_538, 5.19),
    ("T", "learned", 21_397_554, 5.07),
    ("S", "quadratic", 36_816_450, 8.73),
    ("S", "learned", 37_288_466, 8.60),
    ("B", "quadratic", 81_976_834, 18.56),
    ("B", "learned", 82_448_850, 18.44),
]


def build(variant, **arguments):
    return PosMLP(num_classes=1000, **{"num_frames": 1, "crop_size": 224, **VARIANTS[variant], **arguments})


@pytest.mark.parametrize(("variant", "encoding", "parameters", "_"), FIGURES)
def test_parameters_are_the_authors_to_the_unit(variant, encoding, parameters, _):
    with torch.device("meta"):
        assert count_parameters(build(variant, encoding=encoding)) == parameters


@pytest.mark.parametrize(("variant", "encoding", "_", "flops"), FIGURES)
def test_multiply_adds_are_the_authors(variant, encoding, _, flops):
    assert round(count_flops(build(variant, encoding=encoding), (3, 1, 224, 224)) / 1e9, 2) == flops


def test_golden_logits_and_names_of_the_authors_code():
    golden = read_golden("posmlp_T")
    model = build("T").eval()
    official = {key: torch.zeros(shape) for key, shape in golden["shapes"].items()}  # with the index buffers
    state = posmlp.from_official({**official, **golden_weights(golden["shapes"])})
    report = load_weights(model, state, source="official")
    assert len(report.loaded) == len(model.state_dict()) == len(official) - 24
    expected = torch.tensor(golden["logits"], dtype=torch.float64)
    with torch.inference_mode():
        assert (model(golden_clip(1))[0] - expected).abs().max() < 1e-4
        assert (model.double()(golden_clip(1, torch.float64))[0] - expected).abs().max() < 1e-8


@pytest.mark.parametrize(
    ("encoding", "parameters", "expected"),
    [
        ("quadratic", 94_766, [-2.13447851, -2.24669634, 2.38220236, 1.80334836, -2.78031179]),
        ("learned", 94_820, [-2.43990706, -2.41828248, 2.70978763, 1.93263380, -3.12459154]),
    ],
)
def test_a_second_set_of_the_authors_outputs(encoding, parameters, expected):
    model = PosMLP(num_classes=5, num_frames=1, encoding=encoding, windows=(4, 2, 2, 1), **TINY)
    model = model.double().eval()
    sine_weights(model)
    assert count_parameters(model) == parameters
    with torch.inference_mode():
        logits = model(sine_input(1, 3, 1, 32, 32))[0]
    assert logits.tolist() == pytest.approx(expected, abs=1e-8)


def test_the_quadratic_encoding_is_the_papers_equation():
    torch.manual_seed(0)
    unit = QuadraticPosition((1, 3, 3), 2).double()
    with torch.no_grad():
        unit.attention_centers.normal_(), unit.attention_spreads.normal_()
    weights = unit.weights()
    for group, m in ((0, 0), (0, 5), (1, 4), (1, 7)):
        spread = unit.attention_spreads[group]
        scores = []
        for n in range(9):
            offset = torch.tensor([n % 3 - m % 3, m // 3 - n // 3], dtype=torch.float64)
            distance = offset - unit.attention_centers[group]
            scores.append(-0.5 * distance @ spread @ spread.T @ distance)
        assert torch.allclose(weights[group, m], torch.stack(scores).softmax(0))


def test_the_quadratic_encoding_starts_as_a_narrow_blur():
    torch.manual_seed(0)
    own = QuadraticPosition((1, 14, 14), 8).weights().diagonal(dim1=1, dim2=2)  # weight of a token on itself
    assert own.min() > 0.15 and own.max() < 0.36


def test_a_layer_is_the_papers_equation():
    torch.manual_seed(0)
    position = QuadraticPosition((1, 2, 2), 3)
    layer = Layer(6, position=position, mlp_ratio=4, dropout=0.0, rate=0.0).double()
    x = torch.randn(2, 1, 4, 4, 6, dtype=torch.float64)
    u, v = torch.nn.functional.gelu(layer.proj_c_e(layer.norm(x))).split(12, dim=-1)
    mixed = torch.zeros_like(u)
    for channel in range(12):  # channel c is of group c mod G
        for top in (0, 2):
            for left in (0, 2):
                place = (slice(None), 0, slice(top, top + 2), slice(left, left + 2), channel)
                tokens = u[place].flatten(1) @ position.weights()[channel % 3].T
                mixed[place] = tokens.reshape(2, 2, 2)
    out = window_reverse(layer(window_partition(x, 2)), 2, 4)
    assert torch.allclose(out, x + layer.proj_c_s(mixed * v))


def test_drop_path_grows_linearly_from_zero_over_all_layers():
    with torch.device("meta"):
        model = build("T", drop_path=0.23)
    rates = [layer.drop_path.p for level in model.levels for layer in level.encoder]
    assert rates == pytest.approx([0.01 * n for n in range(24)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(num_frames=8), r"DATA.NUM_FRAMES 8: PosMLP takes pictures. Use 1, or MODEL.NAME posmlp_video"),
        (dict(crop_size=225), r"DATA.TRAIN_CROP_SIZE 225: .* Use one of \["),
        (dict(windows=(14, 14, 14, 8)), r"MODEL.ARGS.windows .*: 8 in stage 4 .* Use one of \[1, 7\]"),
        (dict(num_groups=(7, 16, 32, 64)), r"MODEL.ARGS.num_groups .*: 7 in stage 1 .* 192 channels"),
        (dict(mlp_ratios=(4, 4)), r"MODEL.ARGS.mlp_ratios \[4, 4\]: give 4 numbers"),
        (dict(dims=(96, 192, 384, 760)), r"MODEL.ARGS.dims .* multiple of the one before"),
        (dict(dims=(95, 190, 380, 760)), r"MODEL.ARGS.dims .* even"),
        (dict(encoding="none"), r"MODEL.ARGS.encoding 'none': use one of quadratic, learned"),
        (dict(encoding="learned", table_init="one"), r"MODEL.ARGS.table_init 'one': use one of"),
        (dict(dropout=1.0), r"MODEL.ARGS.dropout 1.0"),
        (dict(drop_path=-0.1), r"MODEL.ARGS.drop_path -0.1"),
    ],
)
def test_a_misfit_is_refused_with_the_legal_values(arguments, message):
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        build("T", **arguments)
