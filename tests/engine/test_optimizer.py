"""Who is spared weight decay, who learns slower, and what the methods compute."""

from functools import partial

import pytest
import torch
from torch import nn

from slowfast_mlp.builders import solver
from slowfast_mlp.checkpoint.checkpoint import load_optimizer_state
from slowfast_mlp.config import schema
from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.engine.optimizer import (
    OptimizerSettings,
    layer_ids,
    make_optimizer,
    parameter_groups,
    set_learning_rate,
)
from slowfast_mlp.models.morphmlp import MorphMLP
from tests.distributed import jobs


def make(layer, *, weight_decay=0.0, **changes):
    """An optimizer of the layer with a learning rate of 0.1."""
    settings = OptimizerSettings(**{"method": "adamw", "lr": 0.1, "momentum": 0.9, **changes})
    return make_optimizer(parameter_groups(layer, weight_decay), settings)


def one_weight():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    return layer


def test_biases_and_norms_do_not_decay_and_everything_else_does():
    model = MorphMLP(num_classes=3, num_frames=4, crop_size=32, depths=(1,) * 4, dims=(8, 16, 32, 64))
    decayed, spared = parameter_groups(model, 0.05)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed_names = {names[id(p)] for p in decayed["params"]}
    spared_names = {names[id(p)] for p in spared["params"]}
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.05, 0.0)
    assert decayed_names | spared_names == set(names.values()) and not decayed_names & spared_names
    assert {"blocks1.0.t_fc.proj.weight", "head.weight", "patch_embed1.proj1.weight"} <= decayed_names
    assert {"blocks1.0.norm1.weight", "patch_embed1.norm1.weight", "head.bias"} <= spared_names


def test_frozen_parameters_are_left_out():
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(layer, 0.1)] == [0, 1]


def test_a_step_is_adamws():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    optimizer = make(layer, weight_decay=0.5)
    layer(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    # Decay: 1 - 0.1 * 0.5; then a first Adam step of the whole learning rate.
    assert abs(layer.weight.item() - (0.95 - 0.1)) < 1e-6


def after_two_steps(**settings):
    """The weight 1.0 after two steps with a gradient of 1."""
    layer = one_weight()
    optimizer = make(layer, **settings)
    for _ in range(2):
        optimizer.zero_grad()
        layer(torch.ones(1, 1)).sum().backward()
        optimizer.step()
    return layer.weight.item()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("settings", "weight"),
    [
        (dict(method="sgd", momentum=0.0), 0.8),  # 1 - 0.1 - 0.1
        (dict(method="sgd", momentum=0.5), 0.75),  # 1 - 0.1 - 0.1 * (0.5 + 1)
        (dict(method="sgd", momentum=0.5, dampening=0.5), 0.8),  # - 0.1 - 0.1 * (0.5 + 0.5)
        (dict(method="sgd", momentum=0.5, nesterov=True), 0.675),  # - 0.1 * 1.5 - 0.1 * 1.75
        (
            dict(method="sgd", momentum=0.0, weight_decay=1.0),
            0.62,
        ),  # 1 - 0.1 * (1 + 1), then - 0.1 * (1 + 0.8)
        (dict(method="adam"), 0.8),  # the whole learning rate, twice
        (dict(method="adam", eps=1.0), 0.9),  # half of it: 1 / (1 + eps)
        (dict(method="adamw", weight_decay=1.0), 0.62),  # (1 * 0.9 - 0.1) * 0.9 - 0.1
    ],
)
def test_every_method_steps_as_its_formula_says(settings, weight, fused):
    assert after_two_steps(**settings, fused=fused) == pytest.approx(weight, abs=1e-6)


def test_fused_is_taken_where_the_device_has_it():
    assert make(one_weight()).defaults["fused"] is True
    assert make(one_weight(), fused=False).defaults["fused"] is False


class Two(nn.Module):
    """A stem, two blocks with an embedding between, a norm and a head."""

    def __init__(self):
        super().__init__()
        self.stem, self.down = nn.Linear(1, 1), nn.Linear(1, 1)
        self.first, self.second = nn.Linear(1, 1), nn.Linear(1, 1)
        self.norm, self.head = nn.LayerNorm(1), nn.Linear(1, 1)

    def stages(self):
        return [(self.stem, [self.first]), (self.down, [self.second])]


def test_layers_are_counted_from_the_stem_to_the_head():
    model = Two()
    ids = layer_ids(model, model.stages())
    assert {name: n for name, n in ids.items() if name.endswith("weight")} == {
        "stem.weight": 0,
        "first.weight": 1,
        "down.weight": 2,
        "second.weight": 2,
        "norm.weight": 3,
        "head.weight": 3,
    }


def test_layer_decay_scales_the_learning_rate_of_each_layer():
    model = Two()
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1, layer_decay=0.5, stages=model.stages()))
    set_learning_rate(optimizer, 8.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    scales = {"stem": 1, "first": 2, "down": 4, "second": 4, "norm": 8, "head": 8}
    assert rates == {f"{layer}.{kind}": n for layer, n in scales.items() for kind in ("weight", "bias")}
    decays = {
        names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert {name for name, decay in decays.items() if decay} == {
        name for name in rates if name.endswith("weight") and name != "norm.weight"
    }


def test_a_loaded_state_keeps_moments_and_not_settings():
    before, layer = make(one_weight(), weight_decay=0.5, lr=0.3), one_weight()
    for group in before.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    before.step()
    now = make(layer, weight_decay=0.25, betas=(0.8, 0.9))
    load_optimizer_state(now, before.state_dict())
    group = now.param_groups[0]
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.1, 0.25, (0.8, 0.9))
    assert now.state[layer.weight]["exp_avg"].item() == pytest.approx(0.1)


def test_shards_of_two_ranks_step_as_one_optimiser_and_are_saved_as_one(tmp_path):
    for shard in (False, True):
        launch(partial(jobs.save_sharded_training, tmp_path, shard), num_gpus=0, processes=2)
    plain, sharded = (torch.load(tmp_path / f"sharded-{s}.pt", weights_only=True) for s in (False, True))
    for name, value in plain["weights"].items():
        assert torch.equal(value, sharded["weights"][name]), name
    assert plain["optimizer"].keys() == sharded["optimizer"].keys()
    assert plain["optimizer"]["state"].keys() == sharded["optimizer"]["state"].keys()
    for number, state in plain["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, sharded["optimizer"]["state"][number][name]), (number, name)
    whole = plain["held"][0]
    assert plain["held"] == [whole, whole] and sum(sharded["held"]) == whole
    assert max(sharded["held"]) < 0.6 * whole


def test_shards_are_taken_up_by_any_number_of_ranks(tmp_path):
    launch(partial(jobs.save_sharded_training, tmp_path, True), num_gpus=0, processes=2)
    jobs.save_resumed_training(tmp_path, True)
    for processes in (2, 4):
        launch(partial(jobs.save_resumed_training, tmp_path, True), num_gpus=0, processes=processes)
    one, *others = (torch.load(tmp_path / f"resumed-{n}.pt", weights_only=True) for n in (1, 2, 4))
    for other in others:
        assert all(torch.allclose(value, other[name], atol=1e-6) for name, value in one.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"momentum": 0.8, "nesterov": False},
            "SOLVER.MOMENTUM 0.8, SOLVER.NESTEROV False without effect: SOLVER.OPTIMIZING_METHOD adamw reads "
            "SOLVER.BETAS, SOLVER.EPS",
        ),
        (
            {"optimizing_method": "sgd", "betas": (0.9, 0.95)},
            "SOLVER.BETAS (0.9, 0.95) without effect: SOLVER.OPTIMIZING_METHOD sgd reads SOLVER.MOMENTUM, "
            "SOLVER.DAMPENING, SOLVER.NESTEROV",
        ),
    ],
)
def test_settings_that_only_another_method_reads_are_named(settings, message, caplog):
    model, _, _ = jobs.model_and_batch()
    solver.optimizer(schema.Solver(**settings), model, shard=False)
    assert caplog.messages == [message]


def test_settings_that_the_method_reads_are_not_named(caplog):
    model, _, _ = jobs.model_and_batch()
    own = schema.Solver(optimizing_method="sgd", momentum=0.8, nesterov=False, dampening=0.1)
    solver.optimizer(own, model, shard=False)
    assert caplog.messages == []
