"""Datasets that turn records into items of a training or an evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from slowfast_mlp.data.batch import Batch, Failure, RawFrames, Views
from slowfast_mlp.data.clip_reader import ClipReader
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.samplers import SampleKey
from slowfast_mlp.data.transforms.augment_params import AugmentParams, AugmentSampler
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.errors import UserError
from slowfast_mlp.seeding import mix_seeds

# Consecutive failures after which an item raises. DATA.MAX_FAILED_FRACTION counts all ranks and should stop a
# run earlier.
REPLACEMENT_TRIES = 100


class _Decoded(NamedTuple):
    """The decoded clip of a training item, and the generator that goes on to sample its augmentation."""

    video: int
    label: int
    frames: Tensor  # T H W 3
    generator: torch.Generator
    failures: tuple[Failure, ...]


@dataclass(frozen=True, eq=False)
class TrainVideos(Dataset[Batch]):
    """Random views of a record: `num_samples` augmentations of one clip, which is decoded once.

    All random numbers come from (seed, epoch, record, repeat) and, from the second view on, the number of the
    view. They do not depend on the worker or the rank. `augment` applies AugmentParams on the host: items are
    Views. Without it they are RawFrames. A mirrored view of label n has the label `flipped_labels`[n].

    A video that fails to decode is reported, and replaced by another record chosen with the same seed.
    """

    records: Sequence[Record]
    reader: ClipReader
    _: KW_ONLY
    augment_sampler: AugmentSampler
    augment: Callable[[Tensor, AugmentParams], Tensor] | None
    num_samples: int
    seed: int
    flipped_labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: SampleKey) -> Batch:
        key = SampleKey(*key)
        decoded = self._decode(key)
        params = self._sample_params(key, decoded)
        labels = self._labels(decoded.label, params)
        videos = torch.full_like(labels, decoded.video)
        frames = decoded.frames
        if self.augment is None:
            sizes = (tuple(frames.shape[:3]),)
            return RawFrames(frames.flatten(), sizes, labels, videos, decoded.failures, params)
        views = torch.stack([self.augment(frames, one) for one in params])  # V T S S 3
        return Views(views.permute(0, 4, 1, 2, 3), labels, videos, decoded.failures, params)

    def _decode(self, key: SampleKey) -> _Decoded:
        """A clip of the key's record, or of another one if that fails. Raises UserError if all tries fail."""
        index, seed = key.record, mix_seeds(self.seed, key.epoch, key.record, key.repeat)
        generator = torch.Generator().manual_seed(seed)
        failures = []
        for attempt in range(REPLACEMENT_TRIES):
            record = self.records[index]
            try:
                frames = self.reader.read_random(record, generator)
                return _Decoded(index, record.label, frames, generator, tuple(failures))
            except DecodeError as error:
                failures.append(Failure(index, record.path, error.reason, self.num_samples))
            # A new generator: a read that timed out may still use the other one.
            generator = torch.Generator().manual_seed(mix_seeds(seed, attempt))
            step = int(torch.randint(max(1, len(self.records) - 1), (), generator=generator))
            index = (index + 1 + step) % len(self.records)  # never the one that failed
        raise UserError(
            f"{REPLACEMENT_TRIES} videos in a row cannot be decoded; the last is {failures[-1].path}: "
            f"{failures[-1].reason}. Check the list, DATA.PATH_PREFIX and the files."
        )

    def _sample_params(self, key: SampleKey, decoded: _Decoded) -> tuple[AugmentParams, ...]:
        """The augmentation of every view of the clip."""
        numbers = range(1, self.num_samples)
        seeds = [mix_seeds(self.seed, key.epoch, key.record, key.repeat, number) for number in numbers]
        generators = [decoded.generator, *(torch.Generator().manual_seed(seed) for seed in seeds)]
        height, width = decoded.frames.shape[1:3]
        return tuple(self.augment_sampler.sample(height, width, generator) for generator in generators)

    def _labels(self, label: int, params: Sequence[AugmentParams]) -> Tensor:
        """The label of every view [V]."""
        mirrored = label if self.flipped_labels is None else int(self.flipped_labels[label])
        return torch.tensor([mirrored if one.flip else label for one in params])


@dataclass(frozen=True, eq=False)
class EvalVideos(Dataset[Views]):
    """All views of a record: `num_clips` clips, each in the `num_crops` crops of `transform`.

    The views are ordered as in PySlowFast: clip by clip, crops inside. A video is never replaced: clips that
    fail to decode are reported in `failures`, and the item has the views of the others.
    """

    records: Sequence[Record]
    reader: ClipReader
    _: KW_ONLY
    num_clips: int
    num_crops: int
    transform: Callable[[Tensor], Tensor]
    seed: int

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Views:
        record = self.records[index]
        try:
            decoded, reason = self.reader.read_views(record, self.num_clips, mix_seeds(self.seed, index))
        except DecodeError as error:
            decoded, reason = [], error.reason
        none = torch.empty(0, 3, 0, 0, 0, dtype=torch.uint8)
        views = torch.cat([self.transform(frames) for frames in decoded]) if decoded else none
        labels = torch.full((len(views),), record.label)
        num_missing = (self.num_clips - len(decoded)) * self.num_crops
        failures = (Failure(index, record.path, reason, num_missing),) if num_missing else ()
        return Views(views, labels, torch.full_like(labels, index), failures)
