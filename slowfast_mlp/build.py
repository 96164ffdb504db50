"""The hallway: one section of settings becomes one object. Below this file nobody sees a section."""

import inspect
import logging
import types
import typing
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from slowfast_mlp import models
from slowfast_mlp.config import schema
from slowfast_mlp.data import datasets
from slowfast_mlp.data.augment import HOST_MODES, PlanDrawer, augment_exactly
from slowfast_mlp.data.clips import Clips, DenseClips, SegmentClips
from slowfast_mlp.data.mirror import mirrored_labels
from slowfast_mlp.data.mixup import Mixup
from slowfast_mlp.data.multigrid import Multigrid, demand_model
from slowfast_mlp.data.randaugment import parse_randaugment
from slowfast_mlp.data.records import Records, check_labels, find_missing
from slowfast_mlp.data.samplers import EvalBatchSampler, TrainSampler, empty_classes
from slowfast_mlp.data.skip_list import kept_positions, read_skip_list
from slowfast_mlp.data.to_input import ToInput
from slowfast_mlp.data.transforms import ViewTransform
from slowfast_mlp.data.video import EvalVideos, TrainVideos, collate_views
from slowfast_mlp.engine import checkpoint
from slowfast_mlp.engine.class_names import class_order, differing_names
from slowfast_mlp.engine.metrics import soft_targets
from slowfast_mlp.engine.optimizer import adamw
from slowfast_mlp.engine.schedule import WarmupCosine
from slowfast_mlp.errors import UserError
from slowfast_mlp.lookup import find_module, nearest

logger = logging.getLogger(__name__)

MAX_WORKERS = 8


def records(data: schema.Data, dataset: str, split: str, *, num_classes: int) -> Records:
    """The records of a split, with labels that fit and at least some files that exist."""
    found = listed(data, dataset, split)
    check_labels(found, num_classes, split)
    if data.skip_list:
        found = _without_skipped(data, found, split)
    missing, num_looked_at = find_missing(found, split)
    if missing:
        logger.warning(
            "%d of %d videos looked for from the %s list do not exist, such as %s",
            len(missing), num_looked_at, split, missing[0],
        )  # fmt: skip
    return found


def listed(data: schema.Data, dataset: str, split: str) -> Records:
    """The records of a split as its list has them, whatever their labels and files."""
    module = _dataset_module(dataset)
    shared = {"root", "split", "prefix", "separator"}
    _check_arguments(module.read_records, data.args, shared, f"DATA.ARGS of {dataset}")
    return module.read_records(
        data.path_to_data_dir,
        split,
        prefix=data.path_prefix,
        separator=data.path_label_separator,
        **data.args,
    )


def _without_skipped(data: schema.Data, found: Records, split: str) -> Records:
    """The records without those of DATA.SKIP_LIST; of a list to evaluate, all."""
    skipped = read_skip_list(data.skip_list)
    prefix = data.path_prefix or data.path_to_data_dir
    kept = kept_positions([record.path for record in found], skipped, prefix=prefix)
    num_listed = len(found) - len(kept)
    if split != "train":
        if num_listed:
            logger.warning(
                "%d videos of DATA.SKIP_LIST are in the %s list, and stay: evaluation counts every video",
                num_listed, split,
            )  # fmt: skip
        return found
    if not kept:
        raise UserError(
            f"DATA.SKIP_LIST {data.skip_list!r} leaves out all {len(found)} videos of the train list; "
            "shorten it."
        )
    logger.info("DATA.SKIP_LIST leaves out %d of %d videos of the train list", num_listed, len(found))
    if not num_listed:
        logger.warning("none of the %d paths of %s is in the train list", len(skipped), data.skip_list)
    return Records((found[position] for position in kept), label_names=found.label_names)


def train_sampler(
    train: schema.Train,
    videos: Records,
    grid: Multigrid,
    *,
    num_classes: int,
    rank: int,
    world_size: int,
    seed: int,
) -> TrainSampler:
    """The order of the epochs, in steps of the shapes of `grid`, on this rank."""
    batch_size = train.batch_size
    if batch_size % world_size:
        raise UserError(
            f"TRAIN.BATCH_SIZE {batch_size} cannot be shared by {world_size} processes; use a multiple."
        )
    if len(videos) < batch_size:
        raise UserError(
            f"TRAIN.BATCH_SIZE {batch_size} is more than the {len(videos)} videos of the train list: there "
            "would be no step. Set it to the number of videos or less."
        )
    largest = batch_size * max(shape.batch_factor for shape in grid.all_shapes())
    if len(videos) < largest:
        raise UserError(
            f"MULTIGRID makes steps of up to {largest} videos of TRAIN.BATCH_SIZE {batch_size}, more than "
            f"the {len(videos)} of the train list. Lower TRAIN.BATCH_SIZE, or leave out a cycle."
        )
    if train.sampler == "balanced" and (empty := empty_classes(videos.labels, num_classes)):
        logger.warning(
            "TRAIN.SAMPLER balanced: %d of %d classes have no training video and are never drawn, such as "
            "class %d",
            len(empty), num_classes, empty[0],
        )  # fmt: skip
    return TrainSampler(
        videos.labels,
        batch_size=batch_size,
        rank=rank,
        world_size=world_size,
        seed=seed,
        order=train.sampler,
        shapes_at=grid.shapes_at,
    )


def train_loader(
    data: schema.Data,
    aug: schema.Aug,
    loading: schema.DataLoader,
    videos: Records,
    sampler: TrainSampler,
    *,
    dataset: str,
    device: torch.device,
    num_cores: int,
    seed: int,
) -> DataLoader:
    """AUG.NUM_SAMPLE random views a video, in the steps of the sampler, which is its `batch_sampler`."""
    train_videos = TrainVideos(
        videos,
        clips=_clips(data, dataset, offset=data.use_offset_sampling),
        draw_plan=plan_drawer(data, aug),
        augment=HOST_MODES.get(aug.mode),
        num_samples=aug.num_sample,
        decoder=data.decoder,
        seed=seed,
        channel_order=data.channel_order,
        decode_timeout_sec=data.decode_timeout_sec,
        flipped_labels=_flipped_labels(data, dataset, videos.label_names),
    )
    workers = _worker_arguments(loading, device, num_cores)
    return DataLoader(
        train_videos, batch_sampler=sampler, persistent_workers=workers["num_workers"] > 0, **workers
    )


def plan_drawer(data: schema.Data, aug: schema.Aug) -> PlanDrawer:
    """What draws the numbers of a training view."""
    randaugment = parse_randaugment(aug.aa_type) if aug.enable and aug.aa_type else None
    return PlanDrawer(
        crop_size=data.train_crop_size,
        area=data.train_jitter_scales_relative,
        aspect=data.train_jitter_aspect_relative,
        flip=data.random_flip,
        randaugment=randaugment,
        color_jitter=aug.color_jitter if aug.enable else 0.0,
        erase_prob=aug.re_prob if aug.enable else 0.0,
    )


def to_input(data: schema.Data, device: torch.device) -> ToInput:
    """What makes the model's clips of views, on the device; with the augmentation that AUG.MODE leaves to
    it.
    """
    return ToInput(mean=data.mean, std=data.std, device=device, augment=augment_exactly)


def mix(mixup: schema.Mixup, *, clips_per_rank: int, seed: int, rank: int) -> Mixup | None:
    """Mixup and CutMix of this rank's batches, or None if MIXUP.ENABLE is not set."""
    if not mixup.enable:
        return None
    if clips_per_rank < 2:
        raise UserError(
            "MIXUP.ENABLE True with one clip a process and step mixes it with itself. Use a larger "
            "TRAIN.BATCH_SIZE, AUG.NUM_SAMPLE 2, or MIXUP.ENABLE False."
        )
    return Mixup(
        alpha=mixup.alpha,
        cutmix_alpha=mixup.cutmix_alpha,
        prob=mixup.prob,
        switch_prob=mixup.switch_prob,
        seed=seed,
        rank=rank,
    )


def augmentation_in_words(aug: schema.Aug, mixup: schema.Mixup) -> str:
    """What is done to training clips beside crop and flip, and where."""
    done = [aug.aa_type or f"colour jitter {aug.color_jitter:g}", f"erasing {aug.re_prob:g}"] * aug.enable
    kinds = {"Mixup": mixup.alpha, "CutMix": mixup.cutmix_alpha} if mixup.enable else {}
    done += [f"{kind} {alpha:g}" for kind, alpha in kinds.items() if alpha]
    return "".join(f", {words}" for words in done) + f"; {aug.mode}"


def eval_loader(
    data: schema.Data,
    loading: schema.DataLoader,
    videos: Records,
    *,
    dataset: str,
    num_clips: int,
    num_crops: int,
    single_crop: str,
    offset: bool,
    batch_size: int,
    rank: int,
    world_size: int,
    device: torch.device,
    num_cores: int,
    seed: int,
) -> DataLoader:
    """This rank's videos with all their views, as many videos at a time as make `batch_size` clips, at least
    one.
    """
    transform = ViewTransform(
        crop_size=data.test_crop_size,
        short_size=data.test_short_size,
        num_crops=num_crops,
        single_crop=single_crop,
    )
    eval_videos = EvalVideos(
        videos,
        clips=_clips(data, dataset, offset=offset),
        num_clips=num_clips,
        num_crops=num_crops,
        transform=transform,
        decoder=data.decoder,
        seed=seed,
        channel_order=data.channel_order,
        decode_timeout_sec=data.decode_timeout_sec,
    )
    videos_at_a_time = max(1, batch_size // (num_clips * num_crops))
    sampler = EvalBatchSampler(len(videos), batch_size=videos_at_a_time, rank=rank, world_size=world_size)
    return DataLoader(eval_videos, batch_sampler=sampler, **_worker_arguments(loading, device, num_cores))


def sampling(data: schema.Data, dataset: str) -> str:
    """How frames are chosen, dense or segments: the data set's own way unless the setting says."""
    return _dataset_module(dataset).SAMPLING if data.sampling == "auto" else data.sampling


def _dataset_module(dataset: str) -> ModuleType:
    return find_module(datasets, dataset, "TRAIN.DATASET or TEST.DATASET")


def _flipped_labels(data: schema.Data, dataset: str, label_names: tuple[str, ...]) -> torch.Tensor | None:
    """Labels [K] of the classes seen in a mirror, if flips are on and change any. Raises UserError where
    they would give wrong labels.
    """
    if not data.random_flip:
        return None
    if not label_names and _dataset_module(dataset).SIDES_ARE_CLASSES:
        raise UserError(
            f"DATA.RANDOM_FLIP True: {dataset} has classes that tell left from right, and their names, which "
            "say which labels to swap, are unknown. Set DATA.RANDOM_FLIP False, or DATA.ARGS label_names."
        )
    try:
        flipped = mirrored_labels(label_names)
    except ValueError as error:
        raise UserError(f"DATA.RANDOM_FLIP True: {error}. Set DATA.RANDOM_FLIP False.") from error
    num_swapped = int((flipped != torch.arange(len(flipped))).sum())
    if num_swapped:
        logger.info("mirrored clips swap the labels of %d classes that tell left from right", num_swapped)
    return flipped if num_swapped else None


def _clips(data: schema.Data, dataset: str, *, offset: bool) -> Clips:
    if sampling(data, dataset) == "segments":
        return SegmentClips(num_frames=data.num_frames, shuffle=data.shuffle_frames)
    return DenseClips(
        num_frames=data.num_frames,
        sampling_rate=data.sampling_rate,
        target_fps=data.target_fps,
        offset=offset,
        shuffle=data.shuffle_frames,
    )


def _worker_arguments(loading: schema.DataLoader, device: torch.device, num_cores: int) -> dict[str, Any]:
    """What all loaders share; without a setting one core is left to the training process."""
    num_workers = loading.num_workers
    if num_workers is None:
        num_workers = min(MAX_WORKERS, max(1, num_cores - 1))
    return dict(
        num_workers=num_workers,
        collate_fn=collate_views,
        # A generator of its own: whether an epoch starts workers must not show in the model's random numbers.
        generator=torch.Generator(),
        pin_memory=loading.pin_memory and device.type == "cuda",
    )


def model(section: schema.Model, *, num_frames: int, crop_size: int, test_crop_size: int) -> nn.Module:
    """The backbone: its class with the shared arguments, the variant's row, and MODEL.ARGS on top."""
    module = _model_module(section)
    if section.variant not in module.VARIANTS:
        names = list(module.VARIANTS)
        raise UserError(
            f"MODEL.VARIANT {section.variant!r}: {section.name} has {', '.join(names)}."
            f"{nearest(section.variant, names)}"
        )
    shared = {"num_classes": section.num_classes, "num_frames": num_frames, "crop_size": crop_size}
    _check_arguments(module.MODEL.__init__, section.args, {"self", *shared}, f"MODEL.ARGS of {section.name}")
    try:
        net = module.MODEL(**shared, **{**module.VARIANTS[section.variant], **section.args})
    except ValueError as error:
        raise UserError(f"{section.name} {section.variant}: {error}") from error
    if not net.clip_sizes.takes(num_frames, test_crop_size):
        raise UserError(
            f"DATA.TEST_CROP_SIZE {test_crop_size} differs from DATA.TRAIN_CROP_SIZE {crop_size}: "
            f"{section.name} takes clips of {net.clip_sizes.in_words()}. Set DATA.TEST_CROP_SIZE {crop_size}."
        )
    return net


def multigrid(
    multigrid: schema.Multigrid, data: schema.Data, net: nn.Module, *, name: str, max_epoch: int
) -> Multigrid:
    """The shapes of the training's steps, every one of which the model takes; `name` is that of the model."""
    grid = Multigrid(
        long_cycle=multigrid.long_cycle,
        short_cycle=multigrid.short_cycle,
        epoch_factor=multigrid.epoch_factor,
        num_frames=data.num_frames,
        crop_size=data.train_crop_size,
        max_epoch=max_epoch,
    )
    demand_model(grid, takes=net.clip_sizes.takes, legal=net.clip_sizes.in_words(), name=name)
    return grid


def official_weights(section: schema.Model, contents: dict[str, Any], path: str) -> dict[str, torch.Tensor]:
    """The weights in the contents of a checkpoint, ours or the authors', under the names of our model."""
    return _hook(_model_module(section), "from_official")(checkpoint.weights_of(contents, path))


def start_weights(
    section: schema.Model, net: nn.Module, path: str, *, label_names: Sequence[str] = ()
) -> checkpoint.LoadReport:
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
            "%s was trained on %d classes, not MODEL.NUM_CLASSES %d: its head is left out and learnt anew",
            path, num_classes.pop(), section.num_classes,
        )  # fmt: skip
        weights = {name: value for name, value in weights.items() if name not in head}
    weights = _sort_head(weights, head, checkpoint.label_names_of(contents), label_names, path)
    if not head & set(weights):
        may_miss += tuple(head)
    report = checkpoint.load_weights(net, weights, source=path, may_miss=may_miss)
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
            "%s was trained on other classes (%s): its head is left out and learnt anew",
            path, differing_names(trained, wanted),
        )  # fmt: skip
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


def optimizer(solver: schema.Solver, net: nn.Module) -> torch.optim.Optimizer:
    """AdamW, with no decay for biases and norms."""
    return adamw(net, lr=solver.base_lr, weight_decay=solver.weight_decay)


def schedule(solver: schema.Solver, grid: Multigrid) -> Callable[[float], float]:
    """The learning rate over the epochs, in proportion to the batch of their phase."""
    if solver.warmup_epochs >= grid.num_epochs:
        logger.warning(
            "SOLVER.WARMUP_EPOCHS %g is not below the %d epochs of SOLVER.MAX_EPOCH %d: the learning rate "
            "never reaches BASE_LR",
            solver.warmup_epochs, grid.num_epochs, solver.max_epoch,
        )  # fmt: skip
    curve = WarmupCosine(
        base_lr=solver.base_lr,
        start_lr=solver.warmup_start_lr,
        end_lr=solver.cosine_end_lr,
        warmup_epochs=solver.warmup_epochs,
        max_epoch=grid.num_epochs,
    )
    return lambda epoch: curve(epoch) * grid.lr_factor(epoch)


def targets(solver: schema.Solver, num_classes: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Labels [B] -> targets [B, K] of the loss."""
    return partial(soft_targets, num_classes=num_classes, smoothing=solver.label_smoothing)


def _model_module(section: schema.Model) -> ModuleType:
    return find_module(models, section.name, "MODEL.NAME")


def _check_arguments(function: Callable, given: dict[str, Any], shared: set[str], setting: str) -> None:
    """Answers what `function` does not take with what it does; `shared` arguments come from elsewhere."""
    names = [name for name in inspect.signature(function).parameters if name not in shared]
    kinds = typing.get_type_hints(function)
    for name, value in given.items():
        if name not in names:
            raise UserError(
                f"{setting}: no argument {name!r}; there is {', '.join(names)}.{nearest(name, names)} "
                f"({setting.split()[0]} {{}} drops what the config file gives.)"
            )
        if name in kinds and not _fits(value, kinds[name]):
            words = kinds[name].__name__ if isinstance(kinds[name], type) else str(kinds[name])
            raise UserError(f"{setting}: {name} {value!r} is no {words}.")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of the annotated type; lists stand for tuples, whole numbers for floats."""
    if isinstance(kind, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(kind))
    if kind is types.NoneType:
        return value is None
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)[0]
        return isinstance(value, (list, tuple)) and all(_fits(item, items) for item in value)
    if kind in (int, float):
        allowed = int if kind is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    return not isinstance(kind, type) or isinstance(value, kind)
