"""The data sets that turn records into views for training and evaluation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from slowfast_mlp.data.clip_sampling import Clips
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.samplers import Draw
from slowfast_mlp.data.transforms.augment import Plan, PlanDrawer
from slowfast_mlp.data.video_io.source import Source, open_record
from slowfast_mlp.data.video_io.timeout import within
from slowfast_mlp.data.video_io.video import DecodeError
from slowfast_mlp.errors import UserError
from slowfast_mlp.seeding import mix_seeds

# Before training gives up by itself; DATA.MAX_FAILED_FRACTION, which knows of all ranks, should be quicker.
REPLACEMENT_TRIES = 100


class Failure(NamedTuple):
    """Views of one video that could not be had, and why."""

    video: int
    path: str
    reason: str
    num_views: int


class Views(NamedTuple):
    """Views and what they belong to; failures travel along because workers share no memory with the loop.

    clips [N, 3, T, S, S] uint8, labels [N] int64, videos [N] int64 (positions in the list of records). Views
    of training come with their `plans`, one each. Where the device augments, `sizes` holds (T, H, W) of each
    video, and clips [bytes] the frames [T, H, W, 3] of one video after the other, as many views of each.
    """

    clips: Tensor
    labels: Tensor
    videos: Tensor
    failures: tuple[Failure, ...]
    plans: tuple[Plan, ...] = ()
    sizes: tuple[tuple[int, ...], ...] = ()


class TrainVideos(Dataset[Views]):
    """Random views of a record: `num_samples` plans for the frames of one clip, which is decoded once.

    Every draw comes from (seed, epoch, record, visit) and, from the second view on, the number of the view,
    whatever worker or rank makes it. A key that names a number of frames or a crop size gets its clip in it.
    `augment` carries a plan out; without it the frames travel as decoded, with the plans. A mirrored view of
    label n has the label `flipped_labels`[n].

    A video that cannot be decoded is replaced by another record of a sequence with the same seed, and
    reported.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        clips: Clips,
        draw_plan: PlanDrawer,
        augment: Callable[[Tensor, Plan], Tensor] | None,
        num_samples: int,
        decoder: str,
        seed: int,
        channel_order: str = "RGB",
        flipped_labels: Tensor | None = None,
        decode_timeout_sec: float = 0.0,
    ):
        self.records = records
        self.clips = clips
        self.draw_plan = draw_plan
        self.augment = augment
        self.num_samples = num_samples
        self.decoder = decoder
        self.channel_order = channel_order
        self.seed = seed
        self.flipped_labels = flipped_labels
        self.decode_timeout_sec = decode_timeout_sec

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Draw) -> Views:
        asked, epoch, visit = Draw(*key)
        index, seed = asked, mix_seeds(self.seed, epoch, asked, visit)
        generator = torch.Generator().manual_seed(seed)
        failures = []
        for attempt in range(REPLACEMENT_TRIES):
            record = self.records[index]
            try:
                frames = self._read(record, generator)
            except DecodeError as error:
                failures.append(Failure(index, record.path, error.reason, self.num_samples))
                # Another generator: a read that hung may still draw from the one that it was given.
                generator = torch.Generator().manual_seed(mix_seeds(seed, attempt))
                step = int(torch.randint(max(1, len(self.records) - 1), (), generator=generator))
                index = (index + 1 + step) % len(self.records)  # another than the one that failed
                continue
            seeds = [mix_seeds(self.seed, epoch, asked, visit, n) for n in range(1, self.num_samples)]
            generators = [generator, *(torch.Generator().manual_seed(seed) for seed in seeds)]
            plans = tuple(self.draw_plan(*frames.shape[1:3], generator) for generator in generators)
            labels = self._labels(record.label, plans)
            videos = torch.full_like(labels, index)
            if self.augment is None:
                sizes = (tuple(frames.shape[:3]),)
                return Views(frames.flatten(), labels, videos, tuple(failures), plans, sizes)
            views = torch.stack([self.augment(frames, plan) for plan in plans])  # V T S S 3
            return Views(views.permute(0, 4, 1, 2, 3), labels, videos, tuple(failures), plans)
        raise UserError(
            f"{REPLACEMENT_TRIES} videos in a row cannot be decoded; the last is {failures[-1].path}: "
            f"{failures[-1].reason}. Check the list, DATA.PATH_PREFIX and the files."
        )

    def _labels(self, label: int, plans: Sequence[Plan]) -> Tensor:
        """The label of every view [V]."""
        mirrored = label if self.flipped_labels is None else int(self.flipped_labels[label])
        return torch.tensor([mirrored if plan.flip else label for plan in plans])

    def _read(self, record: Record, generator: torch.Generator) -> Tensor:
        def read() -> Tensor:
            with open_record(record, self.decoder, channel_order=self.channel_order) as video:
                return video.read(self.clips.random(video.num_frames, video.fps, generator).tolist())

        return within(self.decode_timeout_sec, record.path, read)


class EvalVideos(Dataset[Views]):
    """All views of a record, from one pass over the file: `num_clips` in time, each in the crops of the
    transform.

    Views are ordered as PySlowFast's: clip by clip, crops inside. A video is never replaced: clips that
    cannot be decoded are reported, with those that can be in their place.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        clips: Clips,
        num_clips: int,
        num_crops: int,
        transform: Callable[[Tensor], Tensor],
        decoder: str,
        seed: int,
        channel_order: str = "RGB",
        decode_timeout_sec: float = 0.0,
    ):
        self.records = records
        self.clips = clips
        self.num_clips = num_clips
        self.num_crops = num_crops
        self.transform = transform
        self.decoder = decoder
        self.channel_order = channel_order
        self.seed = seed
        self.decode_timeout_sec = decode_timeout_sec

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Views:
        record = self.records[index]
        reason = ""
        decoded: list[Tensor] = []
        try:
            decoded, reason = within(
                self.decode_timeout_sec, record.path, lambda: self._read(record, mix_seeds(self.seed, index))
            )
        except DecodeError as error:
            reason = error.reason
        views = torch.cat([self.transform(frames) for frames in decoded]) if decoded else torch.empty(0)
        labels = torch.full((len(views),), record.label)
        num_missing = (self.num_clips - len(decoded)) * self.num_crops
        failures = (Failure(index, record.path, reason, num_missing),) if num_missing else ()
        return Views(views, labels, torch.full_like(labels, index), failures)

    def _read(self, record: Record, seed: int) -> tuple[list[Tensor], str]:
        """Frames [T, H, W, 3] of every clip that can be decoded, and why the others cannot."""
        generator = torch.Generator().manual_seed(seed)
        with open_record(record, self.decoder, channel_order=self.channel_order) as video:
            return self._read_clips(video, generator)

    def _read_clips(self, video: Source, generator: torch.Generator) -> tuple[list[Tensor], str]:
        clips = self.clips.views(video.num_frames, video.fps, self.num_clips, generator)
        wanted = torch.cat(clips).unique()  # sorted
        try:
            frames = video.read(wanted.tolist())
            rows = (torch.searchsorted(wanted, clip) for clip in clips)
            return [frames.index_select(0, row) for row in rows], ""
        except DecodeError as error:
            reason = error.reason
        decoded = []
        for clip in clips:
            try:
                decoded.append(video.read(clip.tolist()))
            except DecodeError as error:
                reason = error.reason
        return decoded, reason


def collate_views(items: Sequence[Views]) -> Views:
    """Joins the views of several items; an item without any view adds its failures only."""
    filled = [item for item in items if len(item.clips)] or items[:1]
    return Views(
        _join_clips([item.clips for item in filled]),
        torch.cat([item.labels for item in filled]),
        torch.cat([item.videos for item in filled]),
        tuple(failure for item in items for failure in item.failures),
        tuple(plan for item in filled for plan in item.plans),
        tuple(size for item in filled for size in item.sizes),
    )


def _join_clips(clips: Sequence[Tensor]) -> Tensor:
    """Clips [V, 3, T, S, S] of several items, or their bytes, as one; channels stay last in memory.

    A worker joins them in the memory that it shares with the loop, which saves a copy.
    """
    if clips[0].ndim == 5:
        clips = [clip.permute(0, 2, 3, 4, 1) for clip in clips]  # V T S S 3
    joined = torch.empty(sum(map(len, clips)), *clips[0].shape[1:], dtype=clips[0].dtype)
    if get_worker_info() is not None:
        joined.share_memory_()
    torch.cat(clips, out=joined)
    return joined.permute(0, 4, 1, 2, 3) if joined.ndim == 5 else joined
