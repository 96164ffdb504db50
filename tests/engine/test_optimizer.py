"""Who is spared weight decay."""

import torch
from torch import nn

from slowfast_mlp.engine.optimizer import adamw, parameter_groups
from slowfast_mlp.models.morphmlp import MorphMLP


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
    optimizer = adamw(layer, lr=0.1, weight_decay=0.5)
    layer(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    # Decay: 1 - 0.1 * 0.5; then a first Adam step of the whole learning rate.
    assert abs(layer.weight.item() - (0.95 - 0.1)) < 1e-6
