"""Records of videos and the data sets that turn them into views for training and evaluation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from iopath.common.file_io import g_pathmgr
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from slowfast_mlp.data.augment import Plan
from slowfast_mlp.data.clips import DenseClips
from slowfast_mlp.data.decode import DecodeError, open_video
from slowfast_mlp.errors import UserError
from slowfast_mlp.seeds import mix_seeds

REPLACEMENT_TRIES = 10
NUM_LOOKED_AT = 64  # videos of a list whose existence is checked before a run starts


class Record(NamedTuple):
    """One line of a list."""

    path: str
    label: int


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

    Every draw comes from (seed, epoch, record) and, from the second view on, the number of the view, whatever
    worker or rank makes it. `augment` carries a plan out; without it the frames travel as decoded, with the
    plans. A mirrored view of label n has the label `flipped_labels`[n].

    A video that cannot be decoded is replaced by another record of a sequence with the same seed, and
    reported.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        clips: DenseClips,
        draw_plan: Callable[[int, int, torch.Generator], Plan],
        augment: Callable[[Tensor, Plan], Tensor] | None,
        num_samples: int,
        decoder: str,
        seed: int,
        flipped_labels: Tensor | None = None,
    ):
        self.records = records
        self.clips = clips
        self.draw_plan = draw_plan
        self.augment = augment
        self.num_samples = num_samples
        self.decoder = decoder
        self.seed = seed
        self.flipped_labels = flipped_labels

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Views:
        index, epoch = key
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, epoch, index))
        failures = []
        for _ in range(REPLACEMENT_TRIES):
            record = self.records[index]
            try:
                frames = self._read(record, generator)
            except DecodeError as error:
                failures.append(Failure(index, record.path, error.reason, self.num_samples))
                index = int(torch.randint(len(self.records), (), generator=generator))
                continue
            seeds = [mix_seeds(self.seed, epoch, key[0], sample) for sample in range(1, self.num_samples)]
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
        with open_video(record.path, self.decoder) as video:
            return video.read(self.clips.random(video.num_frames, video.fps, generator).tolist())


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
        clips: DenseClips,
        num_clips: int,
        num_crops: int,
        transform: Callable[[Tensor], Tensor],
        decoder: str,
        seed: int,
    ):
        self.records = records
        self.clips = clips
        self.num_clips = num_clips
        self.num_crops = num_crops
        self.transform = transform
        self.decoder = decoder
        self.seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Views:
        record = self.records[index]
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, index))
        reason = ""
        decoded: list[Tensor] = []
        try:
            with open_video(record.path, self.decoder) as video:
                decoded, reason = self._read_clips(video, generator)
        except DecodeError as error:
            reason = error.reason
        views = torch.cat([self.transform(frames) for frames in decoded]) if decoded else torch.empty(0)
        labels = torch.full((len(views),), record.label)
        num_missing = (self.num_clips - len(decoded)) * self.num_crops
        failures = (Failure(index, record.path, reason, num_missing),) if num_missing else ()
        return Views(views, labels, torch.full_like(labels, index), failures)

    def _read_clips(self, video, generator: torch.Generator) -> tuple[list[Tensor], str]:
        """Frames [T, H, W, 3] of every clip that can be decoded, and why the others cannot."""
        clips = self.clips.views(video.num_frames, video.fps, self.num_clips, generator)
        wanted = torch.cat(clips).unique()  # sorted
        try:
            frames = video.read(wanted.tolist())
            return [frames[torch.searchsorted(wanted, clip)] for clip in clips], ""
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


def check_labels(records: Sequence[Record], num_classes: int, split: str) -> None:
    """Raises UserError for the first label outside 0 to num_classes - 1."""
    for record in records:
        if not 0 <= record.label < num_classes:
            raise UserError(
                f"The {split} list gives {record.path!r} the label {record.label}; MODEL.NUM_CLASSES "
                f"{num_classes} allows 0 to {num_classes - 1}. Mend the list or the setting."
            )


def find_missing(records: Sequence[Record], split: str) -> tuple[list[str], int]:
    """Which of an even sample of the files do not exist, and the size of that sample.

    Raises UserError when none exists.
    """
    step = max(1, len(records) // NUM_LOOKED_AT)
    sample = records[::step]
    missing = [record.path for record in sample if not g_pathmgr.exists(record.path)]
    if len(missing) == len(sample):
        raise UserError(
            f"None of {len(sample)} videos looked for from the {split} list exists; the first is "
            f"{missing[0]}. Set DATA.PATH_PREFIX to the folder that the paths of the list start from."
        )
    return missing, len(sample)
