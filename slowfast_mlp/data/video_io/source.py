"""Opening any record: a video file, a folder of frames, or an image, which is a video of one frame."""

from collections.abc import Sequence

import torch
from torch import Tensor

from slowfast_mlp.data import tar_files
from slowfast_mlp.data.records import Record, escape_braces
from slowfast_mlp.data.video_io.decode_error import DecodeError, reason_of
from slowfast_mlp.data.video_io.frame_source import FrameSource
from slowfast_mlp.data.video_io.images import ImageError, decode_image, is_image
from slowfast_mlp.data.video_io.video import open_video

# Images have no frame rate. At this one DATA.SAMPLING_RATE counts images, as DATA.TARGET_FPS is 30.
IMAGES_FPS = 30.0


def open_record(record: Record, decoder: str, *, channel_order: str = "RGB") -> FrameSource:
    """Opens a record; `decoder`, a key of READERS, applies to video files. Raises DecodeError.

    With `channel_order` BGR the channels of every frame are reversed, as OpenCV returns them.
    """
    if record.num_frames:
        source = ImageFiles(
            record.path, num_frames=record.num_frames, first_frame=record.first_frame, fps=IMAGES_FPS
        )
    elif is_image(record.path):
        source = ImageFiles(escape_braces(record.path), num_frames=1, first_frame=0, fps=IMAGES_FPS)
    else:
        source = open_video(record.path, decoder)
    return ReversedChannels(source) if channel_order == "BGR" else source


class ImageFiles(FrameSource):
    """The images `template.format(first_frame)` and on, one frame each; opened only when they are read."""

    def __init__(self, template: str, *, num_frames: int, first_frame: int, fps: float):
        self.template = template
        self.num_frames = num_frames
        self.first_frame = first_frame
        self.fps = fps

    def read(self, indices: Sequence[int]) -> Tensor:
        """As FrameSource.read; every file is read once, even if its frame is requested several times."""
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
            return decode_image(tar_files.read_file(path))
        except (ImageError, OSError) as error:
            raise DecodeError(self.template, f"frame {index}, the file {path}: {reason_of(error)}") from error

    def close(self) -> None:
        """Does nothing: no file stays open between reads."""


class ReversedChannels(FrameSource):
    """A source with the channels of its frames reversed."""

    def __init__(self, source: FrameSource):
        self._source = source
        self.num_frames = source.num_frames
        self.fps = source.fps

    def read(self, indices: Sequence[int]) -> Tensor:
        """As FrameSource.read, BGR."""
        return self._source.read(indices).flip(-1)

    def close(self) -> None:
        """Closes the wrapped source."""
        self._source.close()
