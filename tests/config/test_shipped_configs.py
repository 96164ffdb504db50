"""Every config in configs/: it loads, says nothing twice, and builds the model that it names."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from slowfast_mlp import models
from slowfast_mlp.build import backbone, solver
from slowfast_mlp.config.load import load_config
from slowfast_mlp.config.schema import Config, Mixup
from slowfast_mlp.data.multigrid import Multigrid
from slowfast_mlp.lookup import find_module

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
RUNNABLE = [path for path in FILES if path.name != "Base.yaml"]


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


@pytest.mark.parametrize("path", RUNNABLE, ids=name_of)
def test_the_model_of_the_config_is_built(path):
    config = load_config(str(path))
    data = config.data
    with torch.device("meta"):
        model = backbone.model(
            config.model,
            num_frames=data.num_frames,
            crop_size=data.train_crop_size,
            test_crop_size=data.test_crop_size,
        )
    head = getattr(find_module(models, config.model.name, "MODEL.NAME"), "HEAD", "head")
    assert model.get_submodule(head).out_features == config.model.num_classes


@pytest.mark.parametrize("path", RUNNABLE, ids=name_of)
def test_data_sets_whose_classes_have_sides_are_not_mirrored(path):
    config = load_config(str(path))
    if re.match(r"ssv|synthetic", config.train.dataset):
        assert not config.data.random_flip


@pytest.mark.parametrize(
    ("name", "variant", "num_frames", "drop_path"),
    [("S_16x4", "S", 16, 0.1), ("S_32x4", "S", 32, 0.1), ("B_16x4", "B", 16, 0.3), ("B_32x4", "B", 32, 0.3)],
)
def test_kinetics_recipes_are_the_papers(name, variant, num_frames, drop_path):
    config = load_config(str(CONFIGS / f"Kinetics/MORPHMLP_{name}.yaml"))
    assert (config.model.variant, config.model.args) == (variant, {"drop_path": drop_path})
    assert (config.data.num_frames, config.data.sampling_rate) == (num_frames, 4)
    assert not (config.multigrid.short_cycle or config.multigrid.long_cycle)
    plain = Multigrid(
        long_cycle=False,
        short_cycle=False,
        epoch_factor=1,
        num_frames=num_frames,
        crop_size=224,
        max_epoch=60,
    )
    lr_at = solver.schedule(config.solver, plain)
    # Worked out by hand from the formula: 1e-6 + (2e-4 - 1e-6) e/10, then 1e-6 + (2e-4 - 1e-6)(1 + cos)/2.
    assert [lr_at(epoch) for epoch in (0, 5, 10, 35, 60)] == pytest.approx(
        [1e-6, 1.005e-4, 2e-4, 1.005e-4, 1e-6]
    )
    assert (config.solver.clip_grad_l2norm, config.solver.weight_decay) == (20, 0.05)
    aug, mixup = config.aug, config.mixup
    assert (aug.enable, aug.aa_type, aug.num_sample) == (True, "rand-m7-n4-mstd0.5-inc1", 2)
    assert (aug.re_prob, aug.mode, config.data.random_flip) == (0.25, "exact", True)
    assert mixup == Mixup(enable=True, alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5)
    assert config.solver.label_smoothing == 0.1
    assert (config.test.num_ensemble_views, config.test.num_spatial_crops, config.test.ensemble) == (
        4,
        1,
        "logits",
    )
