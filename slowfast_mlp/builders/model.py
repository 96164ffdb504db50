"""MODEL -> the backbone, and the weights of a checkpoint in it."""

import logging
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import nn

from slowfast_mlp import models
from slowfast_mlp.builders.arguments import check_arguments
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.class_names import class_order, differing_names
from slowfast_mlp.checkpoint.weights import LoadReport, label_names_of, load_weights, weights_of
from slowfast_mlp.config import schema
from slowfast_mlp.distributed.sync_batch_norm import convert_sync_batch_norm
from slowfast_mlp.errors import UserError, nearest_name
from slowfast_mlp.registry import find_module

logger = logging.getLogger(__name__)


def model(section: schema.Model, *, num_frames: int, crop_size: int, test_crop_size: int) -> nn.Module:
    """The backbone: its class with the shared arguments, the variant's row, and MODEL.ARGS on top."""
    module = _model_module(section)
    if section.variant not in module.VARIANTS:
        names = list(module.VARIANTS)
        raise UserError(
            f"MODEL.VARIANT {section.variant!r}: {section.name} has {', '.join(names)}."
            f"{nearest_name(section.variant, names)}"
        )
    shared = {"num_classes": section.num_classes, "num_frames": num_frames, "crop_size": crop_size}
    check_arguments(module.MODEL.__init__, section.args, {"self", *shared}, f"MODEL.ARGS of {section.name}")
    try:
        net = module.MODEL(**shared, **{**module.VARIANTS[section.variant], **section.args})
    except ValueError as error:
        raise UserError(f"{section.name} {section.variant}: {error}") from error
    if not net.clip_sizes.accepts(num_frames, test_crop_size):
        raise UserError(
            f"DATA.TEST_CROP_SIZE {test_crop_size} differs from DATA.TRAIN_CROP_SIZE {crop_size}: "
            f"{section.name} takes clips of {net.clip_sizes.describe()}. Set DATA.TEST_CROP_SIZE {crop_size}."
        )
    if section.act_checkpoint:
        net.set_grad_checkpointing(True)
    if section.sync_bn:
        convert_sync_batch_norm(net)
    return net


def model_for(section: schema.Model, data: schema.Data) -> nn.Module:
    """The backbone for the clips that DATA asks for."""
    sizes = dict(crop_size=data.train_crop_size, test_crop_size=data.test_crop_size)
    return model(section, num_frames=data.num_frames, **sizes)


def official_weights(section: schema.Model, contents: dict[str, Any], path: str) -> dict[str, torch.Tensor]:
    """The weights in the contents of a checkpoint, ours or the authors', under the names of our model."""
    return _hook(_model_module(section), "from_official")(weights_of(contents, path))


def start_weights(
    section: schema.Model, net: nn.Module, path: str, *, label_names: Sequence[str] = ()
) -> LoadReport:
    """Fills the model from a checkpoint to start training from, and says what became of every entry.

    Image weights are inflated for a video model; tables of positions are resampled; the rows of a head
    are put into the order of `label_names`, and a head for other classes is left as it was built.
    """
    module = _model_module(section)
    contents = checkpoint.read(path)
    weights = official_weights(section, contents, path)
    own = net.state_dict()
    may_miss: tuple[str, ...] = ()
    if _is_of_images(weights, own, module.NOT_IN_IMAGE_WEIGHTS):
        logger.info("%s holds an image model: inflated for video", path)
        weights = module.from_image_weights(weights, net)
        may_miss += module.NOT_IN_IMAGE_WEIGHTS
    weights = _hook(module, "fit_weights")(weights, net)
    head = {name for name in own if name.startswith(f"{getattr(module, 'HEAD', 'head')}.")}
    num_classes = {len(weights[name]) for name in head & set(weights)}
    if num_classes and num_classes != {section.num_classes}:
        logger.warning(
            "%s was trained on %d classes, not MODEL.NUM_CLASSES %d: its head is left out and trained from "
            "scratch",
            path,
            num_classes.pop(),
            section.num_classes,
        )
        weights = {name: value for name, value in weights.items() if name not in head}
    weights = _sort_head(weights, head, label_names_of(contents), label_names, path)
    if not head & set(weights):
        may_miss += tuple(head)
    report = load_weights(net, weights, source=path, may_miss=may_miss)
    logger.info("started from %s: %s", path, report)
    return report


def _sort_head(
    weights: dict[str, torch.Tensor],
    head: set[str],
    trained: Sequence[str],
    wanted: Sequence[str],
    path: str,
) -> dict[str, torch.Tensor]:
    """The weights with the rows of the head in the order of `wanted`, and without head for other classes."""
    if not trained or not wanted or list(trained) == list(wanted) or not head & set(weights):
        return weights
    if set(trained) != set(wanted):
        logger.warning(
            "%s was trained on other classes (%s): its head is left out and trained from scratch",
            path,
            differing_names(trained, wanted),
        )
        return {name: value for name, value in weights.items() if name not in head}
    logger.warning("%s has the classes in another order: its head is sorted by their names", path)
    order = class_order(trained, wanted)
    return {name: value[order] if name in head else value for name, value in weights.items()}


def _hook(module: ModuleType, name: str) -> Callable[..., dict[str, torch.Tensor]]:
    """The function of a model's file that changes weights, or the one that leaves them."""
    return getattr(module, name, lambda weights, *_: weights)


def _is_of_images(
    weights: dict[str, torch.Tensor], own: dict[str, torch.Tensor], not_in_images: tuple[str, ...]
) -> bool:
    """Whether the weights lack a time that the model has: an axis of a kernel, or all parts that mix time."""
    shared = weights.keys() & own.keys()
    if any(own[name].ndim == weights[name].ndim + 1 for name in shared):
        return True
    has_time = [any(part in name for name in names for part in not_in_images) for names in (own, weights)]
    return bool(shared) and has_time == [True, False]


def _model_module(section: schema.Model) -> ModuleType:
    return find_module(models, section.name, "MODEL.NAME")
