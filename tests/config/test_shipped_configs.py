"""Every config in configs/: it loads, says nothing twice, and builds the model that it names."""

import re
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from slowfast_mlp import models
from slowfast_mlp.apps.model_table import ROWS
from slowfast_mlp.builders import annotations, solver
from slowfast_mlp.builders import model as model_builder
from slowfast_mlp.config.load import load_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.data.transforms.randaugment import parse_randaugment
from slowfast_mlp.engine.optimizer import parameter_groups
from slowfast_mlp.registry import find_module

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
RUNNABLE = [path for path in FILES if not path.name.startswith("Base")]


def name_of(path: Path) -> str:
    return path.relative_to(CONFIGS).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_key_equals_what_it_would_be_without(path):
    tree = yaml.safe_load(path.read_text())
    base = load_config(str(path.parent / tree["_BASE_"])) if "_BASE_" in tree else Config()
    for section, keys in tree.items():
        for key, value in keys.items() if isinstance(keys, dict) else ():
            before = getattr(getattr(base, section.lower()), key.lower())
            after = getattr(getattr(load_config(str(path)), section.lower()), key.lower())
            assert before != after, f"{section}.{key} {value} changes nothing"


@pytest.mark.parametrize("path", RUNNABLE, ids=name_of)
def test_the_head_says_the_command(path):
    command = f"# python tools/run_net.py --cfg configs/{name_of(path)}"
    assert command in path.read_text()


@cache
def built(path: Path) -> nn.Module:
    """The model of the config, without memory for its weights."""
    config = load_config(str(path))
    with torch.device("meta"):
        return model_builder.model(
            config.model,
            num_frames=config.data.num_frames,
            crop_size=config.data.train_crop_size,
            test_crop_size=config.data.test_crop_size,
        )


@pytest.mark.parametrize("path", RUNNABLE, ids=name_of)
def test_the_model_of_the_config_is_built(path):
    config = load_config(str(path))
    head = getattr(find_module(models, config.model.name, "MODEL.NAME"), "HEAD", "head")
    assert built(path).get_submodule(head).out_features == config.model.num_classes


@pytest.mark.parametrize("path", RUNNABLE, ids=name_of)
def test_weights_decay_and_biases_and_norms_do_not(path):
    model, decay = built(path), load_config(str(path)).solver.weight_decay
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, spared = parameter_groups(model, decay)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (decay, 0.0)
    norms = (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    of_norms = {id(p) for module in model.modules() if isinstance(module, norms) for p in module.parameters()}
    expected = {
        name
        for number, name in names.items()
        # The token biases of PosMLP have three axes, and its code lets them decay.
        if number in of_norms or (name.endswith("bias") and not name.endswith("token_proj_n_bias"))
    }
    assert {names[id(p)] for p in spared["params"]} == expected
    assert len(decayed["params"]) + len(spared["params"]) == len(names)


@pytest.mark.parametrize("path", RUNNABLE, ids=name_of)
def test_data_sets_whose_classes_have_sides_are_not_mirrored(path):
    config = load_config(str(path))
    if re.match(r"ssv|synthetic", config.train.dataset):
        assert not config.data.random_flip


# What papers, released files and READMEs say, by the names of the configs: videos of a step, weight decay,
# gradient norm, RandAugment, erasing, Mixup and CutMix, smoothing; and the learning rate at the start, half
# way up, at the top, half way down and at the end, worked out by hand. On ImageNet the cosine begins with the
# training, as timm's does: the top is a little below the base.
VIDEO = (0.05, 20.0, "rand-m7-n4-mstd0.5-inc1", 0.25, 0.8, 1.0, 0.1)
DEIT = (0.05, None, "rand-m9-mstd0.5-inc1", 0.25, 0.8, 1.0, 0.1)
POSMLP = (0.067, 1.0, "rand-m6-n3-mstd1.0-inc1", 0, 0.5, 1.0, 0.1)
K400_LR = {0: 1e-6, 5: 1.005e-4, 10: 2e-4, 35: 1.005e-4, 60: 1e-6}
SOMETHING_LR = {0: 1e-6, 2.5: 2.005e-4, 5: 4e-4, 32.5: 2.005e-4, 60: 1e-6}
MOBILE_K400_LR = {0: 1e-6, 2.5: 1.255e-4, 5: 2.5e-4, 52.5: 1.255e-4, 100: 1e-6}
MOBILE_SOMETHING_LR = {0: 1e-6, 2.5: 3.8e-5, 5: 7.5e-5, 27.5: 3.8e-5, 50: 1e-6}
DEIT_LR = {0: 1e-6, 2.5: 5.001608e-4, 5: 9.993216e-4, 100: 7.525e-4, 150: 5.05e-4, 300: 1e-5}
MORPHMLP_IMAGE_LR = {0: 1e-6, 10: 4.950915e-4, 20: 9.891831e-4, 100: 7.525e-4, 150: 5.05e-4, 300: 1e-5}
POSMLP_T_LR = {0: 1e-5, 5: 1.0022623e-3, 10: 1.9945246e-3, 150: 1.0005e-3, 300: 1e-6, 310: 1e-6}
POSMLP_LR = {0: 1e-5, 5: 5.036318e-4, 10: 9.972637e-4, 100: 7.5025e-4, 150: 5.005e-4, 300: 1e-6}
MOBILE_LR = {
    1e-3: {0: 1e-4, 1.5: 5.499457e-4, 3: 9.998914e-4, 225: 5.05e-4, 450: 1e-5, 460: 1e-5},
    9e-4: {0: 1e-4, 1.5: 4.999512e-4, 3: 8.999024e-4, 225: 4.55e-4, 450: 1e-5, 460: 1e-5},
    8e-4: {0: 1e-4, 1.5: 4.499567e-4, 3: 7.999134e-4, 225: 4.05e-4, 450: 1e-5, 460: 1e-5},
}


def mobile(decay, *, rand=True, erase=0.2, mixup=0.2):
    return (decay, None, "rand-m9-mstd0.5-inc1" if rand else None, erase, mixup, 0.0, 0.1)


RECIPES = {
    r"Kinetics/(MORPHMLP|POSMLP_VIDEO|VAST)_.*": (64, VIDEO, K400_LR),
    r"SSv[12]/(MORPHMLP|VAST)_.*": (64, VIDEO, SOMETHING_LR),
    r"SSv[12]/POSMLP_VIDEO_.*": (32, VIDEO, SOMETHING_LR),
    r"ImageNet/MORPHMLP_.": (1024, DEIT, MORPHMLP_IMAGE_LR),
    r"ImageNet/(AST|POSMLP_VIDEO)_.*": (1024, DEIT, DEIT_LR),
    r"ImageNet/POSMLP_T": (512, POSMLP, POSMLP_T_LR),
    r"ImageNet/POSMLP_[SB]": (480, POSMLP, POSMLP_LR),
    r"ImageNet/MOBILE_FORMER_(508|294)M": (1024, mobile(0.2), MOBILE_LR[1e-3]),
    r"ImageNet/MOBILE_FORMER_214M": (1024, mobile(0.15), MOBILE_LR[9e-4]),
    r"ImageNet/MOBILE_FORMER_151M": (1024, mobile(0.1), MOBILE_LR[9e-4]),
    r"ImageNet/MOBILE_FORMER_96M": (1024, mobile(0.1, erase=0, mixup=0), MOBILE_LR[8e-4]),
    r"ImageNet/MOBILE_FORMER_52M": (1024, mobile(0.1, rand=False, erase=0), MOBILE_LR[8e-4]),
    r"ImageNet/MOBILE_FORMER_26M": (1024, mobile(0.08, erase=0), MOBILE_LR[8e-4]),
    **{
        rf"{folder}/MOBILE_FORMER_{variants}_\d+": (256, mobile(decay, erase=erase), lrs)
        for folder, lrs in (("Kinetics", MOBILE_K400_LR), ("SSv[12]", MOBILE_SOMETHING_LR))
        for variants, decay, erase in (
            ("(294|508)M", 0.2, 0.2), ("214M", 0.15, 0.2), ("151M", 0.1, 0.2), ("(52|96)M", 0.1, 0),
        )
    },
}  # fmt: skip
WITH_RECIPE = [path for path in RUNNABLE if path.parent.name != "Synthetic"]


@pytest.mark.parametrize("path", WITH_RECIPE, ids=name_of)
def test_the_recipe_is_the_papers(path):
    config = load_config(str(path))
    solver_, aug, mixup = config.solver, config.aug, config.mixup
    matches = [
        recipe
        for pattern, recipe in RECIPES.items()
        if re.fullmatch(pattern, name_of(path).removesuffix(".yaml"))
    ]
    assert len(matches) == 1
    batch_size, recipe, lr_of_epoch = matches[0]
    assert config.train.batch_size == batch_size
    by_timm = path.parent.name == "ImageNet" and re.fullmatch(r"(POSMLP|MOBILE_FORMER)_\w*[TSBM]", path.stem)
    by_timm = by_timm and not path.stem.startswith("POSMLP_VIDEO")
    by_deit = path.parent.name == "ImageNet" and not by_timm
    assert config.train.sampler == ("repeated" if by_deit else "shuffle")
    assert config.data.train_interpolation == ("random" if by_timm else "auto")
    bilinear = path.parent.name == "ImageNet" and path.stem.startswith("MOBILE_FORMER")
    assert config.data.test_interpolation == ("bilinear" if bilinear else "auto")
    assert recipe == (
        solver_.weight_decay,
        solver_.clip_grad_l2norm,
        aug.aa_type if aug.enable else None,
        aug.re_prob if aug.enable else 0,
        mixup.alpha if mixup.enable else 0,
        mixup.cutmix_alpha if mixup.enable else 0,
        solver_.label_smoothing,
    )
    averages = path.parent.name == "ImageNet" and re.fullmatch("POSMLP_[TSB]", path.stem)
    assert (config.train.ema_decay, solver_.eps) == ((0.99992, 1e-5) if averages else (0, 1e-8))
    assert (solver_.optimizing_method, solver_.betas, solver_.layer_decay) == ("adamw", (0.9, 0.999), 1)
    lr_at = solver.schedule(solver_)
    assert [lr_at(epoch) for epoch in lr_of_epoch] == pytest.approx(list(lr_of_epoch.values()))
    assert solver_.max_epoch == max(lr_of_epoch)
    if aug.enable:
        parse_randaugment(aug.aa_type)  # raises for a string of another grammar


# Stochastic depth, or dropout of Mobile-Former, by folder, family and variant.
RATES = {
    ("Kinetics", "MORPHMLP"): {"S": 0.1, "B": 0.3, "L": 0.4},
    ("SSv1", "MORPHMLP"): {"S": 0.3, "B": 0.5},
    ("SSv2", "MORPHMLP"): {"S": 0.3, "B": 0.6},
    ("ImageNet", "MORPHMLP"): {"T": 0.1, "S": 0.1, "B": 0.3, "L": 0.4},
    ("Kinetics", "POSMLP_VIDEO"): dict.fromkeys(("S", "S96", "B", "B96"), 0.1),
    ("SSv1", "POSMLP_VIDEO"): dict.fromkeys(("S", "S96", "B", "B96"), 0.1),
    ("SSv2", "POSMLP_VIDEO"): dict.fromkeys(("S", "S96", "B", "B96"), 0.3),
    ("ImageNet", "POSMLP_VIDEO"): dict.fromkeys(("S", "S96", "B", "B96"), 0.1),
    ("ImageNet", "POSMLP"): {"T": 0.1, "S": 0.1, "B": 0.1},
    **{(folder, "VAST"): {"TI": 0.1, "S": 0.2, "B": 0.3} for folder in ("Kinetics", "SSv1", "SSv2")},
    ("ImageNet", "AST"): {"TI": 0.1, "S": 0.2, "B": 0.3},
}
FAMILIES = ("MORPHMLP", "POSMLP_VIDEO", "POSMLP", "VAST", "AST", "MOBILE_FORMER")
DROPOUT = {"508M": 0.3, "294M": 0.3, "214M": 0.2, "151M": 0.2, "96M": 0.2, "52M": 0.2, "26M": 0.1}


@pytest.mark.parametrize("path", WITH_RECIPE, ids=name_of)
def test_the_name_of_a_config_says_model_frames_and_rates(path):
    config = load_config(str(path))
    pattern = rf"({'|'.join(FAMILIES)})_([A-Z0-9]+)(?:_(\d+(?:x\d)?))?"
    family, variant, frames = re.fullmatch(pattern, path.stem).groups()
    name = {"AST": "vast"}.get(family, family.lower())
    assert (config.model.name, config.model.variant.upper()) == (name, variant)
    if family == "MOBILE_FORMER":
        assert config.model.args == {"dropout": DROPOUT[variant]}
    else:
        assert config.model.args["drop_path"] == RATES[path.parent.name, family][variant]
    num_frames, _, rate = (frames or "1").partition("x")
    assert config.data.num_frames == int(num_frames)
    assert not rate or config.data.sampling_rate == int(rate)


@pytest.mark.parametrize("path", WITH_RECIPE, ids=name_of)
def test_the_views_and_the_data_are_the_tables(path):
    config = load_config(str(path))
    folder, views = path.parent.name, (config.test.num_ensemble_views, config.test.num_spatial_crops)
    is_mobile = path.name.startswith("MOBILE_FORMER")
    datasets = {"Kinetics": "kinetics", "SSv1": "ssv1", "SSv2": "ssv2", "ImageNet": "imagenet"}
    classes = {"Kinetics": 400, "SSv1": 174, "SSv2": 174, "ImageNet": 1000}
    assert (config.train.dataset, config.model.num_classes) == (datasets[folder], classes[folder])
    assert views == (
        (1, 1) if is_mobile or folder == "ImageNet" else (4, 1) if folder == "Kinetics" else (1, 3)
    )
    assert config.test.ensemble == "logits"
    assert config.aug.num_sample == (1 if is_mobile or folder == "ImageNet" else 2)
    chosen = annotations.sampling(config.data, config.train.dataset)
    dense = folder == "ImageNet" or (folder == "Kinetics" and not is_mobile)
    assert chosen == ("dense" if dense else "segments")
    assert config.data.random_flip == (folder in ("Kinetics", "ImageNet"))


def test_every_variant_of_the_model_table_has_a_config():
    # The learned tables of image PosMLP are in no paper's main table.
    rows = {(row.name, row.variant, row.num_frames, row.num_classes) for row in ROWS if not row.arguments}
    configs = map(load_config, map(str, WITH_RECIPE))
    assert rows <= {(c.model.name, c.model.variant, c.data.num_frames, c.model.num_classes) for c in configs}


def test_every_row_of_the_papers_tables_has_a_config():
    names = {name_of(path).removesuffix(".yaml") for path in RUNNABLE}
    video = [f"{variant}_{frames}" for variant in "SB" for frames in (16, 32)]
    rows = {f"Kinetics/MORPHMLP_{row}x4" for row in video}
    rows |= {f"SSv{version}/MORPHMLP_{row}" for version in (1, 2) for row in video}
    rows |= {f"ImageNet/MORPHMLP_{variant}" for variant in "TSBL"}
    rows |= {f"ImageNet/POSMLP_{variant}" for variant in "TSB"}
    rows |= {f"ImageNet/MOBILE_FORMER_{variant}" for variant in DROPOUT}
    rows |= {"Kinetics/POSMLP_VIDEO_S_16x4", "SSv1/POSMLP_VIDEO_S_16", "SSv2/POSMLP_VIDEO_S_16"}
    rows |= {f"Kinetics/VAST_{variant}_16x4" for variant in ("TI", "S", "B")}
    assert rows <= names
