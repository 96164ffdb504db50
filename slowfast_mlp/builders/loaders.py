"""DATA, AUG, MIXUP, DATA_LOADER -> samplers, loaders, and the transform of their batches on the device."""

import logging
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from slowfast_mlp.builders.annotations import dataset_module, sampling
from slowfast_mlp.config import schema
from slowfast_mlp.data.batch import collate
from slowfast_mlp.data.clip_reader import ClipReader
from slowfast_mlp.data.clip_sampling import ClipSampler, DenseClipSampler, SegmentClipSampler
from slowfast_mlp.data.dataset import EvalVideos, TrainVideos
from slowfast_mlp.data.device_transform import DeviceTransform
from slowfast_mlp.data.records import Records
from slowfast_mlp.data.samplers import EvalBatchSampler, TrainSampler, empty_classes
from slowfast_mlp.data.transforms.augment import HOST_MODES
from slowfast_mlp.data.transforms.augment_params import AugmentSampler
from slowfast_mlp.data.transforms.flip_labels import flip_labels
from slowfast_mlp.data.transforms.mixup import Mixup
from slowfast_mlp.data.transforms.randaugment import parse_randaugment
from slowfast_mlp.data.transforms.resize_crop import ViewTransform
from slowfast_mlp.data.worker_signals import ignore_run_signals
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

MAX_WORKERS = 8


def train_sampler(
    train: schema.Train,
    videos: Records,
    *,
    num_classes: int,
    seed: int,
) -> TrainSampler:
    """The sampler of the records of every training step, on this rank. Raises UserError."""
    batch_size, world_size = train.batch_size, dist.world_size()
    if batch_size % world_size:
        raise UserError(
            f"TRAIN.BATCH_SIZE {batch_size} cannot be shared by {world_size} processes; use a multiple."
        )
    if len(videos) < batch_size:
        raise UserError(
            f"TRAIN.BATCH_SIZE {batch_size} is more than the {len(videos)} videos of the train list: there "
            "would be no step. Set it to the number of videos or less."
        )
    if train.sampler == "balanced" and (empty := empty_classes(videos.labels, num_classes)):
        logger.warning(
            "TRAIN.SAMPLER balanced: %d of %d classes have no training video and are never drawn, such as "
            "class %d",
            len(empty),
            num_classes,
            empty[0],
        )
    return TrainSampler(
        videos.labels,
        batch_size=batch_size,
        rank=dist.rank(),
        world_size=world_size,
        seed=seed,
        order=train.sampler,
    )


def train_loader(
    loading: schema.DataLoader, videos: TrainVideos, sampler: TrainSampler, *, device: torch.device
) -> DataLoader:
    """This rank's batches of AUG.NUM_SAMPLE random views per video, in the steps of the sampler."""
    return _loader(videos, sampler, loading, device, keep_workers=True)


def train_videos(
    data: schema.Data, aug: schema.Aug, videos: Records, *, dataset: str, seed: int
) -> TrainVideos:
    """The random views of every video. Raises UserError."""
    return TrainVideos(
        videos,
        clip_reader(data, dataset, offset=data.use_offset_sampling),
        augment_sampler=augment_sampler(data, aug, dataset),
        augment=HOST_MODES.get(aug.mode),
        num_samples=aug.num_sample,
        seed=seed,
        flipped_labels=_flipped_labels(data, dataset, videos.label_names),
    )


def augment_sampler(data: schema.Data, aug: schema.Aug, dataset: str) -> AugmentSampler:
    """The sampler of the augmentation of training views."""
    randaugment = parse_randaugment(aug.aa_type) if aug.enable and aug.aa_type else None
    return AugmentSampler(
        crop_size=data.train_crop_size,
        area=data.train_jitter_scales_relative,
        aspect=data.train_jitter_aspect_relative,
        flip=data.random_flip,
        randaugment=randaugment,
        color_jitter=aug.color_jitter if aug.enable else 0.0,
        erase_prob=aug.re_prob if aug.enable else 0.0,
        crop_first=dataset_module(dataset).ARE_PICTURES,
        interpolation=data.train_interpolation,
    )


def device_transform(data: schema.Data, device: torch.device) -> DeviceTransform:
    """The transform from batches on the device to the model's input."""
    return DeviceTransform(mean=data.mean, std=data.std, device=device)


def mix(mixup: schema.Mixup, *, clips_per_rank: int, seed: int) -> Mixup | None:
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
        rank=dist.rank(),
    )


def describe_augmentation(aug: schema.Aug, mixup: schema.Mixup) -> str:
    """Describes the augmentation besides crop and flip, and AUG.MODE."""
    done = [aug.aa_type or f"colour jitter {aug.color_jitter:g}", f"erasing {aug.re_prob:g}"] * aug.enable
    kinds = {"Mixup": mixup.alpha, "CutMix": mixup.cutmix_alpha} if mixup.enable else {}
    done += [f"{kind} {alpha:g}" for kind, alpha in kinds.items() if alpha]
    return "".join(f", {words}" for words in done) + f"; {aug.mode}"


class EvalViews(NamedTuple):
    """The views of an evaluation: `num_clips` in time, each in `num_crops` crops, of the videos of a dataset.

    With `offset` clips are spread from the first frame to the last. `single_crop` is the crop if there is
    only one.
    """

    dataset: str
    num_clips: int
    num_crops: int
    single_crop: str
    offset: bool

    @classmethod
    def of_test(cls, test: schema.Test, data: schema.Data, *, dataset: str) -> "EvalViews":
        """The views of a test; `dataset` is TRAIN.DATASET, for a test without its own."""
        return cls(
            dataset=test.dataset or dataset,
            num_clips=test.num_ensemble_views,
            num_crops=test.num_spatial_crops,
            single_crop=test.single_crop,
            offset=data.use_offset_sampling,
        )

    @classmethod
    def of_validation(cls, test: schema.Test, *, dataset: str) -> "EvalViews":
        """One view of every video, in its middle."""
        return cls(dataset=dataset, num_clips=1, num_crops=1, single_crop=test.single_crop, offset=True)


def eval_loader(
    data: schema.Data,
    loading: schema.DataLoader,
    videos: Records,
    views: EvalViews,
    *,
    batch_size: int,
    device: torch.device,
    seed: int,
) -> DataLoader:
    """This rank's videos with all their views; a batch has as many videos as make `batch_size` clips."""
    eval_videos = EvalVideos(
        videos,
        clip_reader(data, views.dataset, offset=views.offset),
        num_clips=views.num_clips,
        num_crops=views.num_crops,
        transform=view_transform(data, views),
        seed=seed,
    )
    sampler = EvalBatchSampler(
        len(videos),
        batch_size=max(1, batch_size // (views.num_clips * views.num_crops)),
        rank=dist.rank(),
        world_size=dist.world_size(),
    )
    return _loader(eval_videos, sampler, loading, device, keep_workers=False)


def view_transform(data: schema.Data, views: EvalViews) -> ViewTransform:
    """The crops of an evaluation."""
    return ViewTransform(
        crop_size=data.test_crop_size,
        short_size=data.test_short_size,
        num_crops=views.num_crops,
        single_crop=views.single_crop,
        antialias=dataset_module(views.dataset).ARE_PICTURES,
        interpolation=data.test_interpolation,
    )


def _flipped_labels(data: schema.Data, dataset: str, label_names: tuple[str, ...]) -> torch.Tensor | None:
    """Labels [K] of flipped clips, if flips are on and change labels. Raises UserError if flips would give
    wrong labels.
    """
    if not data.random_flip:
        return None
    if not label_names and dataset_module(dataset).SIDES_ARE_CLASSES:
        raise UserError(
            f"DATA.RANDOM_FLIP True: {dataset} has classes that tell left from right, and their names, which "
            "say which labels to swap, are unknown. Set DATA.RANDOM_FLIP False, or DATA.ARGS label_names."
        )
    try:
        flipped = flip_labels(label_names)
    except ValueError as error:
        raise UserError(f"DATA.RANDOM_FLIP True: {error}. Set DATA.RANDOM_FLIP False.") from error
    num_swapped = int((flipped != torch.arange(len(flipped))).sum())
    if num_swapped:
        logger.info("mirrored clips swap the labels of %d classes that tell left from right", num_swapped)
    return flipped if num_swapped else None


def clip_reader(data: schema.Data, dataset: str, *, offset: bool) -> ClipReader:
    """The reader of the clips of a video."""
    return ClipReader(
        clip_sampler=clip_sampler(data, dataset, offset=offset),
        decoder=data.decoder,
        channel_order=data.channel_order,
        decode_timeout_sec=data.decode_timeout_sec,
    )


def clip_sampler(data: schema.Data, dataset: str, *, offset: bool) -> ClipSampler:
    """The sampler of the frames of a clip."""
    if sampling(data, dataset) == "segments":
        return SegmentClipSampler(num_frames=data.num_frames, shuffle=data.shuffle_frames)
    return DenseClipSampler(
        num_frames=data.num_frames,
        sampling_rate=data.sampling_rate,
        target_fps=data.target_fps,
        offset=offset,
        shuffle=data.shuffle_frames,
    )


def _loader(
    videos: Dataset, sampler: Sampler, loading: schema.DataLoader, device: torch.device, *, keep_workers: bool
) -> DataLoader:
    """A loader of the sampler's batches. By default the workers leave one core to the main process.

    With `keep_workers` the worker processes live on between epochs.
    """
    num_workers = loading.num_workers
    if num_workers is None:
        num_workers = min(MAX_WORKERS, max(1, dist.cores_of_process() - 1))
    return DataLoader(
        videos,
        batch_sampler=sampler,
        num_workers=num_workers,
        persistent_workers=keep_workers and num_workers > 0,
        collate_fn=collate,
        worker_init_fn=ignore_run_signals,
        # Its own generator: starting workers must not change the random numbers of the model.
        generator=torch.Generator(),
        pin_memory=loading.pin_memory and device.type == "cuda",
    )
