"""The places that an answer depends on, of models whose answer is known."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from slowfast_mlp.apps.visualize.attribution import integrated_gradients, saliency, stage_saliency
from slowfast_mlp.apps.visualize.pictures import overlay
from slowfast_mlp.apps.visualize.token_mixing import mixing_maps
from slowfast_mlp.models import mobile_former, morphmlp, posmlp, posmlp_video, vast


class MotionModel(nn.Module):
    """Its first logit is how much neighbouring frames differ, its second nothing."""

    def forward(self, clips):
        changes = (clips[:, :, 1:] - clips[:, :, :-1]).abs().sum(dim=(1, 2, 3, 4))
        return torch.stack([changes, torch.zeros_like(changes)], dim=1)


class WeightedSum(nn.Module):
    """Its first logit is a weighted sum of the pixels, its second nothing."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, clips):
        total = (clips * self.weights).sum(dim=(1, 2, 3, 4))
        return torch.stack([total, torch.zeros_like(total)], dim=1)


def moving_square():
    """Frames of 48 x 48: a square of 8 goes from left to right on the upper half, one stands still below."""
    clip = torch.zeros(3, 5, 48, 48)
    for time in range(5):
        clip[:, time, 8:16, 8 * time : 8 * time + 8] = 1.0
    clip[:, :, 32:40, 20:28] = 1.0
    return clip


@pytest.mark.parametrize("baseline", ["grey", "still"])
def test_the_relevance_of_motion_follows_the_square_that_moves(baseline):
    found = saliency(MotionModel(), moving_square(), 0, baseline=baseline)
    assert found.shape == (5, 48, 48)
    assert abs(float(found.sum()) - 1) < 1e-5
    assert float(found[:, 24:].sum()) < 0.01  # where the other stands
    columns = torch.arange(48.0)
    middles = [float((frame.sum(dim=0) * columns).sum() / frame.sum()) for frame in found]
    assert all(before < after for before, after in pairwise(middles))
    if baseline == "grey":  # a pixel that the square left or enters changes as well
        assert all(abs(middle - (8 * time + 3.5)) < 6 for time, middle in enumerate(middles))


def test_attributions_add_up_to_the_difference_of_the_answers():
    clip = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    found = integrated_gradients(WeightedSum(weights), clip, 0, baseline="still", num_points=2)
    still = clip.mean(dim=1, keepdim=True)
    # The answer is the logit less the mean of both logits, which is half of it.
    assert torch.allclose(found, 0.5 * (weights * (clip - still)).sum(dim=0), atol=1e-6)


def test_an_answer_that_hangs_on_nothing_has_no_relevance():
    assert saliency(WeightedSum(torch.zeros(3, 2, 8, 8)), torch.ones(3, 2, 8, 8), 0).sum() == 0


SMALL = dict(num_classes=4, num_frames=4, crop_size=32, depths=(1, 1, 1, 1), dims=(8, 16, 32, 64))
MODELS = {
    "morphmlp": lambda: morphmlp.MorphMLP(**SMALL, temporal_init="untied"),
    "posmlp_video": lambda: posmlp_video.PosMLPVideo(
        **SMALL, num_groups=(2, 4, 8, 16), table_init="trunc_normal"
    ),
    "vast": lambda: vast.VAST(**SMALL),
    "mobile_former": lambda: mobile_former.MODEL(
        **mobile_former.VARIANTS["26M"], num_classes=4, num_frames=4, crop_size=32
    ),
}


def small_clip(num_frames=4, crop_size=32):
    return torch.randn(3, num_frames, crop_size, crop_size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
def test_every_family_has_a_relevance_over_all_frames(name):
    torch.manual_seed(0)
    found = saliency(MODELS[name](), small_clip(), 1, num_points=2)
    assert found.shape == (4, 32, 32)
    assert (found >= 0).all() and abs(float(found.sum()) - 1) < 1e-4


def test_a_look_leaves_no_hooks_and_no_gradients():
    model = MODELS["morphmlp"]()
    stage_saliency(model, small_clip(), 0)
    mixing_maps(model, small_clip())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_stages_tell_which_of_their_places_the_answer_hangs_on():
    torch.manual_seed(0)
    maps = stage_saliency(MODELS["posmlp_video"](), small_clip(), 0)
    assert [tuple(one.values.shape) for one in maps] == [(4, 8, 8), (4, 4, 4), (4, 2, 2), (4, 1, 1)]
    assert all(abs(float(one.values.sum()) - 1) < 1e-4 for one in maps)
    assert maps[1].layer == "stage 2" and maps[1].names == ("time 1", "time 2", "time 3", "time 4")


def test_chunk_mixing_shows_which_place_takes_from_which():
    model = MODELS["morphmlp"]()
    layer = model.blocks1[0].fc
    L = layer.chunk_len
    nn.init.zeros_(layer.mlp_w.weight)
    group = 8 // L
    with torch.no_grad():  # the first place of a row's chunk takes from the last
        layer.mlp_w.weight[:group, -group:] = 3.0
    maps = next(one for one in mixing_maps(model, small_clip()) if one.layer == "blocks1.0.fc")
    assert maps.names == ("columns", "rows")
    expected = torch.zeros(L, L)
    expected[0, L - 1] = 3.0
    assert torch.equal(maps.values[1], expected)


def test_branches_of_chunk_mixing_share_the_sum():
    maps = [one for one in mixing_maps(MODELS["morphmlp"](), small_clip()) if "Share" in one.description]
    assert [len(one.names) for one in maps] == [3, 3, 3, 2]
    assert all(torch.allclose(one.values.sum(dim=0), torch.ones(one.values.shape[1:])) for one in maps)


def test_relative_position_maps_show_where_is_taken_from():
    model = MODELS["posmlp_video"]()
    position = model.blocks1[0].fc.encoder.gate_unit.pos
    _, h, w = position.window
    nn.init.zeros_(position.window_relative_position_bias_table)
    with torch.no_grad():  # the second group takes from one place to the right: made less taken is (0, 0, -1)
        row = (h - 1) * (2 * w - 1) + (w - 1) - 1
        position.window_relative_position_bias_table[row, 1] = 0.5
    maps = next(
        one for one in mixing_maps(model, small_clip()) if one.layer == "blocks1.0.fc.encoder.gate_unit.pos"
    )
    assert maps.values.shape == (2, 2 * h - 1, 2 * w - 1) and maps.is_signed
    assert maps.values[1].nonzero().tolist() == [[h - 1, w]]
    # What the layer does agrees: output m of the second group is half of what stands to its right.
    weights = position.weights()[1]
    assert weights[0, 1] == 0.5 and weights[1, 0] == 0


def test_time_maps_have_a_row_for_every_group():
    maps = [
        one for one in mixing_maps(MODELS["posmlp_video"](), small_clip()) if "over time" in one.description
    ]
    assert [tuple(one.values.shape) for one in maps] == [(1, groups, 7) for groups in (2, 4, 8, 16)]


def test_the_middle_of_a_quadratic_window_takes_shares_that_add_up_to_one():
    model = posmlp.MODEL(num_classes=4, num_frames=1, crop_size=224, **posmlp.VARIANTS["T"])
    first = mixing_maps(model, small_clip(1, 224))[0]
    assert torch.allclose(first.values.sum(dim=(1, 2)), torch.ones(len(first.values)), atol=1e-4)


def test_shifts_show_zeros_where_nothing_enters_and_gates_their_channels():
    shifts, gates = mixing_maps(MODELS["vast"](), small_clip())[:2]
    sides = ("from above", "from below", "from the left", "from the right")
    assert shifts.names == (*sides, "from before", "from after", "not moved")
    above, below, left, right = shifts.values[:4]
    assert (above[0] == 0).all() and (above[1:] > 0).all()
    assert (below[-1] == 0).all() and (left[:, 0] == 0).all() and (right[:, -1] == 0).all()
    assert gates.values.shape == (1, 7, 2)  # 8 channels: one a direction, two stay
    assert gates.values[0, :6, 1].isnan().all()
    known = gates.values[~gates.values.isnan()]
    assert len(known) == 8 and (known > 0).all() and (known < 1).all()


def test_gates_of_every_token_are_maps():
    maps = mixing_maps(vast.VAST(**SMALL, gate="token"), small_clip())
    assert maps[1].values.shape == (7, 8, 8)
    ungated = mixing_maps(vast.VAST(**SMALL, gate="none"), small_clip())
    assert {one.description.split(":")[0] for one in ungated} == {"Shifts"}


def test_an_overlay_is_bright_where_the_relevance_is_and_a_dim_frame_elsewhere():
    frames = torch.full((1, 4, 4, 3), 100, dtype=torch.uint8)
    found = torch.zeros(1, 4, 4)
    found[0, 1, 2] = 1.0
    drawn = overlay(frames, found)
    assert drawn[0, 1, 2].tolist() == [252, 255, 164]
    assert drawn[0, 0, 0].tolist() == [60, 60, 60]
