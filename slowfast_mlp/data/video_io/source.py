"""One way to read any record: a video file, a folder of frames, or a picture that is a video of one frame."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

import torch
from torch import Tensor

from slowfast_mlp.data import tar_files
from slowfast_mlp.data.records import Record, literal
from slowfast_mlp.data.video_io.decode_error import DecodeError, reason_of
from slowfast_mlp.data.video_io.images import PictureError, decode_picture, is_picture
from slowfast_mlp.data.video_io.video import open_video

# Pictures do not tell a rate; at this one DATA.SAMPLING_RATE counts pictures, TARGET_FPS being 30.
PICTURES_FPS = 30.0


class Source(Protocol):
    """An opened record: its frames by number, from 0."""

    num_frames: int
    fps: float

    def read(self, indices: Sequence[int]) -> Tensor:
        """Frames [T, H, W, 3] uint8 of the given numbers, in the given order; numbers may repeat.

        Raises DecodeError when one of them cannot be had.
        """

    def close(self) -> None:
        """Frees what is open."""

    def __enter__(self) -> "Source": ...

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_record(record: Record, decoder: str, *, channel_order: str = "RGB") -> Source:
    """The opened record; `decoder` is for video files. Raises DecodeError.

    `channel_order` BGR turns the channels of every kind of record around: the frames that OpenCV would give.
    """
    if record.num_frames:
        source = PictureFiles(
            record.path, num_frames=record.num_frames, first_frame=record.first_frame, fps=PICTURES_FPS
        )
    elif is_picture(record.path):
        source = PictureFiles(literal(record.path), num_frames=1, first_frame=0, fps=PICTURES_FPS)
    else:
        source = open_video(record.path, decoder)
    return Reversed(source) if channel_order == "BGR" else source


class PictureFiles:
    """The pictures `template.format(first_frame)` and on, a frame each; opened only when they are read."""

    def __init__(self, template: str, *, num_frames: int, first_frame: int, fps: float):
        self.template = template
        self.num_frames = num_frames
        self.first_frame = first_frame
        self.fps = fps

    def read(self, indices: Sequence[int]) -> Tensor:
        """As Source.read; every file is read once, however often its frame is asked for."""
        wanted = sorted(set(indices))
        if wanted[0] < 0 or wanted[-1] >= self.num_frames:
            raise DecodeError(
                self.template, f"has {self.num_frames} frames; asked for {wanted[0]} to {wanted[-1]}"
            )
        frames = {index: self._read_one(index) for index in wanted}
        if len({frame.shape for frame in frames.values()}) > 1:
            raise DecodeError(self.template, "its frames change their size")
        return torch.stack([frames[index] for index in indices])

    def _read_one(self, index: int) -> Tensor:
        path = self.template.format(self.first_frame + index)
        try:
            return decode_picture(tar_files.read_file(path))
        except (PictureError, OSError) as error:
            raise DecodeError(self.template, f"frame {index}, the file {path}: {reason_of(error)}") from error

    def close(self) -> None:
        """Nothing stays open between reads."""

    def __enter__(self) -> "PictureFiles":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Reversed:
    """A source whose frames come with their channels turned around."""

    def __init__(self, source: Source):
        self._source = source
        self.num_frames = source.num_frames
        self.fps = source.fps

    def read(self, indices: Sequence[int]) -> Tensor:
        """As Source.read, BGR."""
        return self._source.read(indices).flip(-1)

    def close(self) -> None:
        """Closes what it reads from."""
        self._source.close()

    def __enter__(self) -> "Reversed":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
