"""What every backbone promises, tried on every file of slowfast_mlp/models in a tiny size.

A new backbone adds a row to TINY. One that takes clips of other sizes than it was built for, as its
`clip_sizes` say, names some of them in `other_crops` and `other_frames`.
"""

import sys

import pytest
import torch
from torch import nn

from slowfast_mlp import models
from slowfast_mlp.kernels.fused import use_reference
from slowfast_mlp.models.protocol import Backbone
from slowfast_mlp.registry import find_module, module_names

# Name -> constructor arguments of a size that a test can afford, and a crop and frames that it refuses.
TINY = {
    "morphmlp": dict(
        arguments=dict(num_frames=4, crop_size=32, depths=(1, 1, 1, 1), dims=(8, 16, 32, 64)),
        wrong_crop=40,
        wrong_frames=2,
    ),
    "posmlp": dict(
        arguments=dict(
            num_frames=1, crop_size=64, depths=(1, 1, 1, 1), dims=(8, 16, 32, 64), num_groups=(2, 4, 8, 16)
        ),
        wrong_crop=40,
        wrong_frames=4,
    ),
    "posmlp_video": dict(
        arguments=dict(
            num_frames=4,
            crop_size=32,
            depths=(1, 1, 1, 1),
            dims=(8, 16, 32, 64),
            num_groups=(2, 4, 8, 16),
            time_windows=(4, 2, 2, 4),
        ),
        wrong_crop=40,
        wrong_frames=6,
    ),
    "vast": dict(
        arguments=dict(num_frames=4, crop_size=32, depths=(1, 1, 1, 1), dims=(8, 16, 32, 64)),
        wrong_crop=31,
        wrong_frames=0,
        other_crops=(48, 33),
        other_frames=(2, 7),
    ),
    "mobile_former": dict(
        arguments=dict(
            num_frames=4, crop_size=32, stem_dim=8, num_tokens=3, token_dim=16, fc_dim=24,
            blocks=(("lite", 16, 8, 2), ("M", 16, 8), ("D", 16, 12, 24), ("M", 24, 12)),
        ),
        wrong_crop=16,
        wrong_frames=0,
        other_crops=(48, 33),
    ),
}  # fmt: skip
NUM_CLASSES = 5


def test_every_backbone_has_a_row():
    assert sorted(TINY) == module_names(models)


@pytest.fixture(params=[(name, frames) for name in TINY for frames in ("video", "image")], ids="-".join)
def built(request):
    name, frames = request.param
    arguments = dict(TINY[name]["arguments"])
    if frames == "image":
        arguments["num_frames"] = 1
    torch.manual_seed(0)
    model = find_module(models, name, "MODEL.NAME").MODEL(num_classes=NUM_CLASSES, **arguments)
    with torch.no_grad():  # away from a start at which whole branches are silent
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model, arguments


def built_row(model):
    """The row of TINY that a model was built from."""
    return TINY[type(model).__module__.rpartition(".")[2]]


def head_of(model):
    """Name of the layer that gives the logits, which is `head` unless the file says otherwise."""
    return getattr(sys.modules[type(model).__module__], "HEAD", "head")


def clips_for(arguments, batch=2):
    generator = torch.Generator().manual_seed(1)
    size = arguments["crop_size"]
    return torch.randn(batch, 3, arguments["num_frames"], size, size, generator=generator)


def test_clips_give_logits(built):
    model, arguments = built
    assert model(clips_for(arguments)).shape == (2, NUM_CLASSES)
    features = model.forward_features(clips_for(arguments))
    assert features.shape == (2, model.get_submodule(head_of(model)).in_features)


def test_every_backbone_satisfies_the_protocol(built):
    assert isinstance(built[0], Backbone)


def test_every_parameter_gets_a_gradient(built):
    model, arguments = built
    model(clips_for(arguments, batch=4)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_hooks_on_every_module_fire_in_the_reference_implementation(built):
    model, arguments = built
    called = set()
    modules = {
        name: module for name, module in model.named_modules() if not isinstance(module, nn.ModuleList)
    }
    for name, module in modules.items():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    with use_reference():
        model(clips_for(arguments, batch=4))
    # Mobile-Former reads the weight of its tokens, and calls the parts of its head one by one; PosMLP calls
    # the layers of a level one by one.
    containers = {"tokens", "classifier", *(f"levels.{stage}.encoder" for stage in range(4))}
    assert modules.keys() - called == containers & modules.keys()


def test_stages_hold_the_stem_and_every_block_once_in_the_order_of_the_data(built):
    model, arguments = built
    parts = [part for embed, blocks in model.stages() for part in [embed, *blocks]]
    order = []
    for part in parts:
        called = part[-1] if isinstance(part, nn.ModuleList) else part  # stem and tokens make an embedding
        called.register_forward_pre_hook(lambda *_, part=part: order.append(parts.index(part)))
    model(clips_for(arguments, batch=4))
    assert order == list(range(len(parts))) and len(parts) > len(model.stages())
    held = {id(parameter) for part in parts for parameter in part.parameters()}
    outside = [name for name, parameter in model.named_parameters() if id(parameter) not in held]
    assert f"{head_of(model)}.weight" in outside
    assert all(name.startswith(("norm.", "head.", "local_global.", "classifier.")) for name in outside)


def test_a_clips_logits_do_not_depend_on_its_neighbours(built):
    model, arguments = built
    model.eval()
    clips = clips_for(arguments, batch=3)
    with torch.no_grad():
        assert torch.allclose(model(clips)[1], model(clips[1:2])[0], atol=1e-5)
        changed = clips.clone()
        changed[0] += 1
        assert not torch.allclose(model(changed)[0], model(clips)[0], atol=1e-3)


def test_bf16_is_finite(built):
    model, arguments = built
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(clips_for(arguments))
    assert logits.isfinite().all()


def test_the_state_goes_round(built):
    model, arguments = built
    other = type(model)(num_classes=NUM_CLASSES, **arguments)
    other.load_state_dict(model.state_dict())
    model.eval(), other.eval()
    with torch.no_grad():
        assert torch.equal(model(clips_for(arguments)), other(clips_for(arguments)))


def test_clips_of_another_shape_are_refused(built):
    model, arguments = built
    clips = clips_for(arguments)
    wrong = [clips[:, :2], clips[..., :-4], clips[:, :, :, :-4], clips[..., :16, :16], clips[0]]
    if not built_row(model).get("other_crops"):
        wrong += [clips[..., :-4, :-4], torch.cat([torch.cat([clips] * 2, dim=3)] * 2, dim=4)]
    if arguments["num_frames"] == 1 or not built_row(model).get("other_frames"):
        wrong.append(torch.cat([clips, clips], dim=2))
    for refused in wrong:
        with pytest.raises(ValueError, match="takes clips"):
            model(refused)


def test_other_sizes_that_a_model_takes_are_seen_as_by_one_built_for_them(built):
    model, arguments = built
    row, is_video = built_row(model), arguments["num_frames"] > 1
    others = [{"crop_size": size} for size in row.get("other_crops", ())]
    others += [{"num_frames": number} for number in row.get("other_frames", ()) if is_video]
    others = [{**arguments, **other} for other in others]
    sizes = (31, 32, 33, 48, 64)
    taken = [size for size in sizes if model.clip_sizes.accepts(arguments["num_frames"], size)]
    assert taken == ([32, 33, 48, 64] if row.get("other_crops") else [arguments["crop_size"]])
    counts = [number for number in (1, 2, 4, 7) if model.clip_sizes.accepts(number, arguments["crop_size"])]
    assert counts == ([2, 4, 7] if row.get("other_frames") and is_video else [arguments["num_frames"]])
    model.eval()
    with torch.no_grad():
        for other in others:
            clips = clips_for(other, batch=3)
            logits = model(clips)
            assert logits.shape == (3, NUM_CLASSES) and logits.isfinite().all()
            assert torch.allclose(logits[1], model(clips[1:2])[0], atol=1e-5)
            for_it = type(model)(num_classes=NUM_CLASSES, **other)
            for_it.load_state_dict(model.state_dict())
            assert torch.equal(logits, for_it.eval()(clips))


@pytest.mark.parametrize("name", TINY)
def test_a_size_that_does_not_fit_is_refused_at_construction_by_its_setting(name):
    module, row = find_module(models, name, "MODEL.NAME"), TINY[name]
    for argument, setting in (("crop_size", "TRAIN_CROP_SIZE"), ("num_frames", "NUM_FRAMES")):
        wrong = row["wrong_crop" if argument == "crop_size" else "wrong_frames"]
        with pytest.raises(ValueError, match=rf"DATA.{setting} {wrong}.* [Uu]se (one of \[)?\d+"):
            module.MODEL(num_classes=5, **{**row["arguments"], argument: wrong})
