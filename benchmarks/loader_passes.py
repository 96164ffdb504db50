"""What is measured of a loader: the same clips with the same draws, loaded in different ways."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import torch
from torch import Tensor

from slowfast_mlp.data.batch import collate
from slowfast_mlp.data.clip_reader import ClipReader
from slowfast_mlp.data.clip_sampling import (
    ClipSampler,
    DenseClipSampler,
    SegmentClipSampler,
    clip_span,
    random_start,
    view_start,
)
from slowfast_mlp.data.dataset import EvalVideos, TrainVideos
from slowfast_mlp.data.device_transform import DeviceTransform
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.samplers import SampleKey
from slowfast_mlp.data.transforms.augment import HOST_MODES
from slowfast_mlp.data.transforms.augment_params import AugmentParams, AugmentSampler
from slowfast_mlp.data.transforms.randaugment import parse_randaugment
from slowfast_mlp.data.transforms.resize_crop import ViewTransform
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.source import open_record
from slowfast_mlp.data.video_io.video import probe
from slowfast_mlp.seeding import mix_seeds

SEED = 0
# The papers' recipe for training: 16 frames at rate 4, two views of a decode.
NUM_FRAMES, SAMPLING_RATE, TARGET_FPS = 16, 4, 30.0
CROP_SIZE, SHORT_SIZE = 224, 256
NUM_SAMPLES = 2
RANDAUGMENT = "rand-m7-n4-mstd0.5-inc1"
BATCH_VIDEOS = 4  # that are collated together

DENSE = DenseClipSampler(
    num_frames=NUM_FRAMES, sampling_rate=SAMPLING_RATE, target_fps=TARGET_FPS, offset=True, shuffle=False
)
SEGMENTS = SegmentClipSampler(num_frames=NUM_FRAMES, shuffle=False)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training clip with what was drawn for it: where it starts (of dense clips), which frames, which
    views.
    """

    key: SampleKey
    record: Record
    start: float
    span: float
    indices: tuple[int, ...]
    params: tuple[AugmentParams, ...]


def train_videos(
    records: Sequence[Record],
    clips: ClipSampler,
    mode: str,
    *,
    decoder: str = "pyav",
    crop_size: int = CROP_SIZE,
) -> TrainVideos:
    """The data set of training in AUG.MODE `mode`; clips of segments, as in Something-Something, are not
    mirrored.
    """
    sampler = AugmentSampler(
        crop_size=crop_size,
        area=(0.08, 1.0),
        aspect=(0.75, 1.3333),
        flip=isinstance(clips, DenseClipSampler),
        randaugment=parse_randaugment(RANDAUGMENT),
        erase_prob=0.25,
    )
    return TrainVideos(
        records,
        ClipReader(clip_sampler=clips, decoder=decoder),
        augment_sampler=sampler,
        augment=HOST_MODES.get(mode),
        num_samples=NUM_SAMPLES,
        seed=SEED,
    )


def make_jobs(
    records: Sequence[Record], clips: ClipSampler, *, num_epochs: int, crop_size: int = CROP_SIZE
) -> list[Job]:
    """A job for every record in each of some epochs: the draws of `train_videos`, as numbers.

    Raises DecodeError.
    """
    videos = train_videos(records, clips, "device", crop_size=crop_size)
    jobs = []
    for epoch in range(num_epochs):
        for index, record in enumerate(records):
            key = SampleKey(index, epoch)
            start, span, indices = _sample_clip(record, clips, mix_seeds(SEED, epoch, index, 0))
            item = videos[key]
            if item.failures:
                raise DecodeError(record.path, item.failures[0].reason)
            jobs.append(
                Job(key=key, record=record, start=start, span=span, indices=indices, params=item.params)
            )
    return jobs


def _sample_clip(record: Record, clips: ClipSampler, seed: int) -> tuple[float, float, tuple[int, ...]]:
    """Start and span of the clip that training draws from the seed (0 and the whole video for segments), and
    its frame numbers.
    """
    with open_record(record, "pyav") as video:
        generator = torch.Generator().manual_seed(seed)
        indices = tuple(clips.random(video.num_frames, video.fps, generator).tolist())
        if isinstance(clips, SegmentClipSampler):
            return 0.0, float(video.num_frames), indices
        span = clip_span(clips.num_frames, clips.sampling_rate, video.fps, clips.target_fps)
        start = random_start(video.num_frames, span, torch.Generator().manual_seed(seed))
        return start, span, indices


def our_pass(
    videos: TrainVideos, jobs: Sequence[Job], device_transform: DeviceTransform | None = None
) -> Callable[[], None]:
    """Loads all jobs; with `device_transform` makes the model's clips too."""

    def load() -> None:
        for batch in _batches([job.key for job in jobs]):
            views = collate([videos[key] for key in batch])
            if device_transform:
                device_transform(views)

    return load


def reference_pass(reference: ModuleType, jobs: Sequence[Job], clips: ClipSampler) -> Callable[[], None]:
    """The same in the plain way."""

    def load_one(job: Job) -> torch.Tensor:
        if job.record.num_frames:
            return reference.training_views_from_images(image_paths(job), job.params)
        return reference.training_views(
            job.record.path, start=job.start, span=job.span, num_frames=clips.num_frames, plans=job.params
        )

    def load() -> None:
        for batch in _batches(jobs):
            reference.collate([load_one(job) for job in batch])

    return load


def decode_only_pass(reference: ModuleType, jobs: Sequence[Job]) -> Callable[[], None]:
    """Decodes the spans of the clips, or their pictures, and does nothing with them."""

    def load() -> None:
        for job in jobs:
            if job.record.num_frames:
                reference.read_images(image_paths(job))
            else:
                reference.decode_span(job.record.path, job.start, job.span)

    return load


def make_device_transform(device: torch.device) -> DeviceTransform:
    """The last steps to the model's clips, with those of AUG.MODE device."""
    return DeviceTransform(mean=(0.45,) * 3, std=(0.225,) * 3, device=device)


def image_paths(job: Job) -> list[str]:
    """The files of a clip of pictures."""
    return [job.record.path.format(job.record.first_frame + index) for index in job.indices]


def test_videos(records: Sequence[Record], *, num_clips: int, num_crops: int, crop_size: int) -> EvalVideos:
    """The data set of a test with that many views."""
    transform = ViewTransform(
        crop_size=crop_size, short_size=crop_size * SHORT_SIZE // CROP_SIZE, num_crops=num_crops
    )
    return EvalVideos(
        records,
        ClipReader(clip_sampler=DENSE, decoder="pyav"),
        num_clips=num_clips,
        num_crops=num_crops,
        transform=transform,
        seed=SEED,
    )


def our_test_pass(videos: EvalVideos) -> Callable[[], None]:
    """All views of all videos, a video at a time."""

    def load() -> None:
        for index in range(len(videos)):
            collate([videos[index]])

    return load


def reference_test_pass(
    reference: ModuleType, records: Sequence[Record], *, num_clips: int, num_crops: int, crop_size: int
) -> Callable[[], None]:
    """The same views, each from a decode of its own."""
    clips = reference_test_clips(
        reference, records, num_clips=num_clips, num_crops=num_crops, crop_size=crop_size
    )

    def load() -> None:
        for load_view in clips:
            load_view()

    return load


def reference_test_clips(
    reference: ModuleType, records: Sequence[Record], *, num_clips: int, num_crops: int, crop_size: int
) -> list[Callable[[], Tensor]]:
    """A call for every view of every record that loads it in the plain way: clips [1, 3, T, S, S] float32."""
    jobs = []
    for record in records:
        info = probe(record.path, "pyav")
        span = clip_span(NUM_FRAMES, SAMPLING_RATE, info.fps, TARGET_FPS)
        starts = [view_start(info.num_frames, span, n, num_clips, offset=True) for n in range(num_clips)]
        crops = [1] if num_crops == 1 else range(num_crops)
        jobs += [(record.path, start, span, crop) for start in starts for crop in crops]
    short_size = crop_size * SHORT_SIZE // CROP_SIZE if num_crops == 1 else crop_size
    sizes = dict(num_frames=NUM_FRAMES, short_size=short_size, crop_size=crop_size)

    def view(path: str, start: float, span: float, crop: int) -> Tensor:
        return reference.collate(
            [reference.test_view(path, start=start, span=span, crop=crop, **sizes)[None]]
        )

    return [partial(view, *job) for job in jobs]


def _batches(items: Sequence) -> list[Sequence]:
    return [items[start : start + BATCH_VIDEOS] for start in range(0, len(items), BATCH_VIDEOS)]
