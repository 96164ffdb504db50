"""Records of videos and the data sets that turn them into views for training and evaluation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from slowfast_mlp.data import shards
from slowfast_mlp.data.clips import DenseClips
from slowfast_mlp.data.deadline import within
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

    clips [N, 3, T, H, W] float32, labels [N] int64, videos [N] int64 (positions in the list of records).
    """

    clips: Tensor
    labels: Tensor
    videos: Tensor
    failures: tuple[Failure, ...]


class TrainVideos(Dataset[Views]):
    """One random view of a record. Every draw comes from (seed, epoch, record), whatever worker or rank makes
    it.

    A video that cannot be decoded is replaced by another record of a sequence with the same seed, and
    reported.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        clips: DenseClips,
        transform: Callable[[Tensor, torch.Generator], Tensor],
        decoder: str,
        seed: int,
        decode_timeout_sec: float = 0.0,
    ):
        self.records = records
        self.clips = clips
        self.transform = transform
        self.decoder = decoder
        self.seed = seed
        self.decode_timeout_sec = decode_timeout_sec

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Views:
        index, epoch = key
        seed = mix_seeds(self.seed, epoch, index)
        generator = torch.Generator().manual_seed(seed)
        failures = []
        for attempt in range(REPLACEMENT_TRIES):
            record = self.records[index]
            try:
                frames = self._read(record, generator)
            except DecodeError as error:
                failures.append(Failure(index, record.path, error.reason, 1))
                # Another generator: a read that hung may still draw from the one that it was given.
                generator = torch.Generator().manual_seed(mix_seeds(seed, attempt))
                index = int(torch.randint(len(self.records), (), generator=generator))
                continue
            clips = self.transform(frames, generator)  # V 3 T H W
            labels = torch.full((len(clips),), record.label)
            return Views(clips, labels, torch.full_like(labels, index), tuple(failures))
        raise UserError(
            f"{REPLACEMENT_TRIES} videos in a row cannot be decoded; the last is {failures[-1].path}: "
            f"{failures[-1].reason}. Check the list, DATA.PATH_PREFIX and the files."
        )

    def _read(self, record: Record, generator: torch.Generator) -> Tensor:
        def read() -> Tensor:
            with open_video(record.path, self.decoder) as video:
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
        clips: DenseClips,
        num_clips: int,
        num_crops: int,
        transform: Callable[[Tensor], Tensor],
        decoder: str,
        seed: int,
        decode_timeout_sec: float = 0.0,
    ):
        self.records = records
        self.clips = clips
        self.num_clips = num_clips
        self.num_crops = num_crops
        self.transform = transform
        self.decoder = decoder
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
        with open_video(record.path, self.decoder) as video:
            return self._read_clips(video, generator)

    def _read_clips(self, video, generator: torch.Generator) -> tuple[list[Tensor], str]:
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
        torch.cat([item.clips for item in filled]),
        torch.cat([item.labels for item in filled]),
        torch.cat([item.videos for item in filled]),
        tuple(failure for item in items for failure in item.failures),
    )


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
    missing = [record.path for record in sample if not shards.exists(record.path)]
    if len(missing) == len(sample):
        raise UserError(
            f"None of {len(sample)} videos looked for from the {split} list exists; the first is "
            f"{missing[0]}. Set DATA.PATH_PREFIX to the folder that the paths of the list start from."
        )
    return missing, len(sample)
