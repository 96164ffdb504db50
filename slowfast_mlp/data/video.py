"""The data sets that turn records into views for training and evaluation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from slowfast_mlp.data.clips import Clips
from slowfast_mlp.data.decode import DecodeError
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.sources import Source, open_record
from slowfast_mlp.errors import UserError
from slowfast_mlp.seeds import mix_seeds

REPLACEMENT_TRIES = 10


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
    reported. With `flipped_labels` [K] half of the views are mirrored here, and take the label of their class
    seen in a mirror; `transform` should then not mirror.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        clips: Clips,
        transform: Callable[[Tensor, torch.Generator], Tensor],
        decoder: str,
        seed: int,
        channel_order: str = "RGB",
        flipped_labels: Tensor | None = None,
    ):
        self.records = records
        self.clips = clips
        self.transform = transform
        self.decoder = decoder
        self.channel_order = channel_order
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
                failures.append(Failure(index, record.path, error.reason, 1))
                index = int(torch.randint(len(self.records), (), generator=generator))
                continue
            clips = self.transform(frames, generator)  # V 3 T H W
            label = record.label
            if self.flipped_labels is not None and torch.rand((), generator=generator) < 0.5:
                clips, label = clips.flip(-1), int(self.flipped_labels[label])
            labels = torch.full((len(clips),), label)
            return Views(clips, labels, torch.full_like(labels, index), tuple(failures))
        raise UserError(
            f"{REPLACEMENT_TRIES} videos in a row cannot be decoded; the last is {failures[-1].path}: "
            f"{failures[-1].reason}. Check the list, DATA.PATH_PREFIX and the files."
        )

    def _read(self, record: Record, generator: torch.Generator) -> Tensor:
        with open_record(record, self.decoder, channel_order=self.channel_order) as video:
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
        clips: Clips,
        num_clips: int,
        num_crops: int,
        transform: Callable[[Tensor], Tensor],
        decoder: str,
        seed: int,
        channel_order: str = "RGB",
    ):
        self.records = records
        self.clips = clips
        self.num_clips = num_clips
        self.num_crops = num_crops
        self.transform = transform
        self.decoder = decoder
        self.channel_order = channel_order
        self.seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Views:
        record = self.records[index]
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, index))
        reason = ""
        decoded: list[Tensor] = []
        try:
            with open_record(record, self.decoder, channel_order=self.channel_order) as video:
                decoded, reason = self._read_clips(video, generator)
        except DecodeError as error:
            reason = error.reason
        views = torch.cat([self.transform(frames) for frames in decoded]) if decoded else torch.empty(0)
        labels = torch.full((len(views),), record.label)
        num_missing = (self.num_clips - len(decoded)) * self.num_crops
        failures = (Failure(index, record.path, reason, num_missing),) if num_missing else ()
        return Views(views, labels, torch.full_like(labels, index), failures)

    def _read_clips(self, video: Source, generator: torch.Generator) -> tuple[list[Tensor], str]:
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
        torch.cat([item.clips for item in filled]),
        torch.cat([item.labels for item in filled]),
        torch.cat([item.videos for item in filled]),
        tuple(failure for item in items for failure in item.failures),
    )
