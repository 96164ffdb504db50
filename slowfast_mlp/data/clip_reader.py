"""Decoding the clips of a record: which frames, from which file, within which time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from slowfast_mlp.data.clip_sampling import ClipSampler
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.frame_source import FrameSource
from slowfast_mlp.data.video_io.source import open_record
from slowfast_mlp.data.video_io.timeout import with_timeout


@dataclass(frozen=True, kw_only=True)
class ClipReader:
    """Reads clips of records, with the frames that `clip_sampler` chooses.

    `decoder` and `channel_order` are arguments of `open_record`. A read that takes longer than
    `decode_timeout_sec` raises DecodeError; 0 is no limit.
    """

    clip_sampler: ClipSampler
    decoder: str
    channel_order: str = "RGB"
    decode_timeout_sec: float = 0.0

    def read_random(self, record: Record, generator: torch.Generator) -> Tensor:
        """The frames [T, H, W, 3] of a random clip. Raises DecodeError.

        After a timeout the reading thread may still use the generator.
        """

        def read() -> Tensor:
            with open_record(record, self.decoder, channel_order=self.channel_order) as video:
                return video.read(self.clip_sampler.random(video.num_frames, video.fps, generator).tolist())

        return with_timeout(self.decode_timeout_sec, record.path, read)

    def read_views(self, record: Record, num_clips: int, seed: int) -> tuple[list[Tensor], str]:
        """The frames [T, H, W, 3] of `num_clips` evaluation clips, decoded in one pass over the file.

        Clips that fail to decode are left out; the string is the reason, "" if there are none. Raises
        DecodeError if the record cannot be opened.
        """

        def read() -> tuple[list[Tensor], str]:
            generator = torch.Generator().manual_seed(seed)
            with open_record(record, self.decoder, channel_order=self.channel_order) as video:
                clips = self.clip_sampler.views(video.num_frames, video.fps, num_clips, generator)
                return _read_clips(video, clips)

        return with_timeout(self.decode_timeout_sec, record.path, read)


def _read_clips(video: FrameSource, clips: list[Tensor]) -> tuple[list[Tensor], str]:
    """The frames of every clip (frame numbers [T]) that can be decoded, and why the others cannot."""
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
