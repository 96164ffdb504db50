"""Writes a video of any length frame by frame."""

import os
from fractions import Fraction
from pathlib import Path

import av
from torch import Tensor

from slowfast_mlp.errors import UserError

# Ticks per second of the time base: MPEG's, a multiple of most frame rates.
TICKS = 90_000
ENDINGS = (".mp4", ".mkv", ".mov", ".m4v", ".avi", ".ts")  # of containers for h264


class FrameWriter:
    """Writes an h264 file atomically: it gets its name when the block ends without an error."""

    def __init__(self, path: str, *, fps: float):
        self.path = Path(path)
        self._temporary = self.path.with_name(f".{self.path.stem}.{os.getpid()}.part{self.path.suffix}")
        self._rate = Fraction(fps).limit_denominator(1001)
        self._stream: av.VideoStream | None = None
        self._last = -1
        if not self.path.parent.is_dir():  # FFmpeg would only fail with the first frame
            raise self._refusal("no such folder")
        try:
            self._container = av.open(str(self._temporary), "w")
        except (av.error.FFmpegError, ValueError, OSError) as error:
            raise self._refusal(error) from error

    def add(self, pixels: Tensor, time_sec: float) -> None:
        """Adds a frame [H, W, 3] uint8 RGB shown from `time_sec` on, resized to the size of the first."""
        if self._stream is None:
            self._open_stream(*pixels.shape[:2])
        frame = av.VideoFrame.from_ndarray(pixels.numpy(), format="rgb24")
        # FFmpeg refuses two frames with the same time, which streams may have.
        self._last = max(self._last + 1, round(time_sec * TICKS))
        frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.error.FFmpegError, OSError) as error:  # a full disk, say
            raise self._refusal(error) from error

    def _refusal(self, reason: object) -> UserError:
        words = getattr(reason, "strerror", None) or reason
        return UserError(
            f"{self.path} cannot be written ({words}). Name a file such as out.mp4 in a folder that exists."
        )

    def _open_stream(self, height: int, width: int) -> None:
        self._stream = self._container.add_stream("libx264", rate=self._rate, options={"crf": "20"})
        self._stream.width, self._stream.height = width - width % 2, height - height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)

    def __enter__(self) -> "FrameWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if kind is None and self._stream is not None:
                self._container.mux(self._stream.encode(None))
                self._container.close()
                self._temporary.replace(self.path)
        except (av.error.FFmpegError, OSError) as error:
            raise self._refusal(error) from error
        finally:
            self._container.close()
            self._temporary.unlink(missing_ok=True)
