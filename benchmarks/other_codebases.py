"""Networks of other programs, built from the user's own checkouts: nothing of theirs is part of this one."""

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.errors import UserError

IN_CHANNELS = 3
MVIT_CONFIG = "configs/Kinetics/MVITv2_S_16x4.yaml"  # of PySlowFast's own backbones the one nearest in cost
SWIN_DIM = 768  # channels that Video Swin-T ends with


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A checkout's network. `family` is our backbone of the same architecture, into which its weights go, or
    None for another architecture, whose figures stand next to ours without a comparison of outputs.
    """

    title: str
    family: str | None
    package: str
    build: Callable[[Path, nn.Module], tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]]


def build_peer(name: str, checkout: Path, ours: nn.Module) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """The network, as large as `ours`, and how it takes clips [B, 3, T, H, W] to logits.

    Raises UserError where the checkout is not one, or needs a package that is not installed.
    """
    peer = PEERS[name]
    if not (checkout / peer.package).is_dir():
        raise UserError(
            f"--peer {name}={checkout}: there is no folder {peer.package} in it; give a checkout's root."
        )
    try:
        net, call = peer.build(checkout, ours)
    except ModuleNotFoundError as error:
        raise UserError(f"--peer {name}={checkout}: its code needs {error.name}; install that.") from error
    except FileNotFoundError as error:
        raise UserError(f"--peer {name}={checkout}: {error.filename} is not there.") from error
    return net, lambda clips: call(net, clips)


@contextmanager
def import_from_checkout(checkout: Path, *bare_packages: str) -> Iterator[None]:
    """Within it, the packages named are those of the checkout, without running their `__init__`: what that
    would import, one network does not need. Afterwards no module of theirs can be imported, so that
    checkouts with packages of one name do not mix.
    """
    root = bare_packages[0]
    finder = _NamespaceFinder(checkout, bare_packages)
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if _is_in_package(name, root)}
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _is_in_package(name, root)]:
            del sys.modules[name]
        sys.modules.update(hidden)


class _NamespaceFinder:
    """Finds the named packages of a checkout as folders of modules and no more."""

    def __init__(self, checkout: Path, packages: tuple[str, ...]):
        self._checkout = checkout
        self._packages = packages

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The package as a namespace, or None for all else."""
        if name not in self._packages:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(self._checkout.joinpath(*name.split(".")))]
        return spec


def _is_in_package(name: str, root: str) -> bool:
    return name == root or name.startswith(f"{root}.")


def _call_with_pathways(net: nn.Module, clips: Tensor) -> Tensor:
    """PySlowFast's networks take a list of pathways."""
    return net([clips])


def _pyslowfast_config(ours: nn.Module, sections: Mapping[str, Any]) -> SimpleNamespace:
    """A config of PySlowFast as far as a network reads it."""
    shared = {
        "MODEL": {"NUM_CLASSES": ours.num_classes},
        "DATA": {"TRAIN_CROP_SIZE": ours.crop_size, "INPUT_CHANNEL_NUM": [IN_CHANNELS]},
    }
    return SimpleNamespace(
        **{
            name: SimpleNamespace(**section) if isinstance(section, Mapping) else section
            for name, section in {**shared, **sections}.items()
        }
    )


def _stage_sizes(ours: nn.Module) -> dict[str, Any]:
    """Keys that MorphMLP and PosMLP-Video have in common."""
    stages = ours.stages()
    state = ours.state_dict()
    dims = [state["patch_embed1.proj2.weight"].shape[0]]
    dims += [state[f"patch_embed{stage}.proj.weight"].shape[0] for stage in range(2, len(stages) + 1)]
    return {
        "LAYERS": [len(blocks) for _, blocks in stages],
        "EMBED_DIMS": dims,
        "TRANSITIONS": [False, True, True, False],  # read where two stages are equally wide
        "PATCH_SIZE": 7,  # read and not used
        "DROP_DEPTH_RATE": stages[-1][1][-1].drop_path.p,
    }


def _morphmlp(checkout: Path, ours: nn.Module) -> tuple[nn.Module, Callable]:
    sizes = _stage_sizes(ours)
    ratio = ours.blocks1[0].mlp.fc1.out_features // sizes["EMBED_DIMS"][0]
    morph = {
        **sizes,
        "SEGMENT_DIM": list(ours.chunk_lens),
        "T_STRIDE": 1,
        "MLP_RATIOS": [ratio] * 4,
        "QKV_BIAS": True,
        "QKV_SCALE": None,
        "ATTENTION_DROPOUT_RATE": 0.0,
    }
    is_long = ours.num_frames > 16  # the authors have a file for 32 frames
    with import_from_checkout(checkout, "slowfast", "slowfast.models"):
        module = importlib.import_module(f"slowfast.models.morphmlp{'_32' if is_long else ''}")
    return getattr(module, f"MorphMLP{'_32' if is_long else ''}")(
        _pyslowfast_config(ours, {"MORPH": morph})
    ), _call_with_pathways


def _posmlp(checkout: Path, ours: nn.Module) -> tuple[nn.Module, Callable]:
    state = ours.state_dict()
    stages = range(1, len(ours.stages()) + 1)
    unit = "encoder.gate_unit.pos"
    tokens = [state[f"blocks{n}.0.fc.{unit}.token_proj_n_bias"].shape[1] for n in stages]
    times = [state[f"blocks{n}.0.t_fc.{unit}.token_proj_n_bias"].shape[1] for n in stages]
    table = "window_relative_position_bias_table"
    settings = _pyslowfast_config(
        ours,
        {
            "POSMLP_VIDEO": {**_stage_sizes(ours), "SHIFT": False},
            "WIN_SIZE": [math.isqrt(number) for number in tokens],
            "WIN_SIZE_T": times,
            "POSGAMMA": [state[f"blocks{n}.0.fc.{unit}.{table}"].shape[1] for n in stages],
        },
    )
    with import_from_checkout(checkout, "slowfast", "slowfast.models"):
        module = importlib.import_module("slowfast.models.posmlp")
    return module.PosMLP_Video(settings), _call_with_pathways


def _slowfast(checkout: Path, ours: nn.Module) -> tuple[nn.Module, Callable]:
    config = checkout / MVIT_CONFIG
    if not config.is_file():
        raise FileNotFoundError(2, "no such file", str(config))
    with import_from_checkout(checkout, "slowfast", "slowfast.models"):
        settings = importlib.import_module("slowfast.config.defaults").get_cfg()
        settings.merge_from_file(str(config))
        settings.NUM_GPUS = 0  # where the network lies is our part
        settings.MODEL.NUM_CLASSES = ours.num_classes
        settings.DATA.NUM_FRAMES = ours.num_frames
        settings.DATA.TRAIN_CROP_SIZE = settings.DATA.TEST_CROP_SIZE = ours.crop_size
        backbone = importlib.import_module("slowfast.models.video_model_builder")
        return backbone.MViT(settings), _call_with_pathways


def _mmaction2(checkout: Path, ours: nn.Module) -> tuple[nn.Module, Callable]:
    with import_from_checkout(checkout, "mmaction", "mmaction.models", "mmaction.models.backbones"):
        module = importlib.import_module("mmaction.models.backbones.swin")
        backbone = module.SwinTransformer3D(arch="tiny", pretrained2d=False)
    net = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(SWIN_DIM, ours.num_classes)})
    return net, lambda net, clips: net["head"](net["backbone"](clips).mean(dim=(2, 3, 4)))


PEERS = {
    "morphmlp": Peer(title="MTLab/MorphMLP", family="morphmlp", package="slowfast", build=_morphmlp),
    "posmlp": Peer(title="PosMLP_Video", family="posmlp_video", package="slowfast", build=_posmlp),
    "slowfast": Peer(title="PySlowFast, MViTv2-S", family=None, package="slowfast", build=_slowfast),
    "mmaction2": Peer(title="mmaction2, Video Swin-T", family=None, package="mmaction", build=_mmaction2),
}


def peer_weights(net: nn.Module) -> dict[str, Tensor]:
    """A copy of its weights, as a checkpoint would hold them."""
    return {name: torch.clone(value) for name, value in net.state_dict().items()}
