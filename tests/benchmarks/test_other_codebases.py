"""Networks from checkouts of other programs; the checkouts here are made by the tests."""

import sys

import pytest
import torch

from slowfast_mlp.benchmarks.other_codebases import PEERS, build_peer, import_from_checkout
from slowfast_mlp.errors import UserError
from slowfast_mlp.models.morphmlp import MorphMLP

REGISTRY = """
class Registry(dict):
    def register(self):
        return lambda kind: kind

MODEL_REGISTRY = Registry()
"""
NETWORK = """
from torch import nn
from .build import MODEL_REGISTRY

@MODEL_REGISTRY.register()
class MorphMLP(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.settings = cfg
        self.head = nn.Linear(3, cfg.MODEL.NUM_CLASSES)

    def forward(self, x):
        return self.head(x[0].mean(dim=(2, 3, 4)))
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose packages cannot be imported whole, as is so with what is old."""
    models = tmp_path / "slowfast" / "models"
    models.mkdir(parents=True)
    for package in (models, models.parent):
        (package / "__init__.py").write_text("import a_library_that_is_long_gone\n")
    (models / "build.py").write_text(REGISTRY)
    (models / "morphmlp.py").write_text(NETWORK)
    return tmp_path


@pytest.fixture
def ours():
    return MorphMLP(num_classes=7, num_frames=4, crop_size=32, depths=(1, 2, 1, 1), dims=(8, 16, 32, 64))


def test_a_peer_is_built_as_large_as_ours_without_its_packages_being_run(checkout, ours):
    net, call = build_peer("morphmlp", checkout, ours)
    assert call(torch.ones(2, 3, 4, 32, 32)).shape == (2, 7)
    morph = net.settings.MORPH
    assert (morph.LAYERS, morph.EMBED_DIMS, morph.SEGMENT_DIM) == (
        [1, 2, 1, 1],
        [8, 16, 32, 64],
        [2, 4, 4, 1],
    )
    assert (morph.MLP_RATIOS, net.settings.DATA.TRAIN_CROP_SIZE) == ([3, 3, 3, 3], 32)


def test_afterwards_nothing_of_a_checkout_can_be_imported(checkout, ours):
    build_peer("morphmlp", checkout, ours)
    assert not any(name.split(".")[0] == "slowfast" for name in sys.modules)


def test_a_package_of_that_name_that_was_imported_before_is_there_afterwards(checkout, tmp_path):
    with import_from_checkout(checkout, "slowfast", "slowfast.models"):
        from slowfast.models import build

        sys.modules["slowfast"] = build  # stands for the user's own
        with import_from_checkout(checkout, "slowfast"):
            assert "slowfast" not in sys.modules
        assert sys.modules["slowfast"] is build


def test_a_folder_that_is_no_checkout_is_refused(tmp_path, ours):
    with pytest.raises(UserError, match=r"--peer mmaction2=.*: there is no folder mmaction in it"):
        build_peer("mmaction2", tmp_path, ours)


def test_a_package_that_the_checkout_needs_is_named(checkout, ours):
    (checkout / "slowfast" / "models" / "morphmlp.py").write_text("import timm_of_2021\n")
    with pytest.raises(UserError, match="its code needs timm_of_2021; install that"):
        build_peer("morphmlp", checkout, ours)


def test_a_file_that_the_checkout_lacks_is_named(checkout, ours):
    with pytest.raises(UserError, match=r"MVITv2_S_16x4.yaml is not there"):
        build_peer("slowfast", checkout, ours)


def test_the_peers_of_the_same_architecture_are_those_of_our_backbones():
    assert {name: peer.family for name, peer in PEERS.items()} == {
        "morphmlp": "morphmlp", "posmlp": "posmlp_video", "slowfast": None, "mmaction2": None,
    }  # fmt: skip
