"""Reads a video, a folder of frames or a live stream frame by frame, in bounded memory."""

import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import av
import numpy
import torch
from torch import Tensor

from slowfast_mlp.data import tar_files
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.decode_error import DecodeError, reason_of
from slowfast_mlp.data.video_io.images import is_image
from slowfast_mlp.data.video_io.source import open_record

logger = logging.getLogger(__name__)

# FFmpeg's input devices: cameras and the test source, as in v4l2:/dev/video0.
DEVICE_FORMATS = ("v4l2", "avfoundation", "dshow", "lavfi")
# The timeout of a network source, and how much of a stream is analyzed before its first frame.
TIMEOUT_SEC = 30.0
PROBED = {"analyzeduration": "1000000"}  # in microseconds
FPS_WITHOUT_RATE = 30.0


class TimedFrame(NamedTuple):
    """A frame [H, W, 3] uint8 RGB, upright, and its time in seconds after the first frame."""

    time_sec: float
    pixels: Tensor


class FrameStream(Protocol):
    """An open source; iterating yields its frames once."""

    fps: float
    num_frames: int  # from the header, which may be wrong; 0 if unknown
    num_damaged: int  # frames skipped so far

    def __iter__(self) -> Iterator[TimedFrame]: ...

    def close(self) -> None:
        """Releases files and decoders."""


@dataclass(frozen=True)
class Stream:
    """A source that can be read only once: a URL, a pipe or a device."""

    path: str


def is_stream(path: str) -> bool:
    """Whether a path names a stream: a URL, FORMAT:DEVICE, a named pipe, or a device such as /dev/video0."""
    if "://" in path or path.startswith(("pipe:", *(f"{name}:" for name in DEVICE_FORMATS))):
        return True
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def open_stream(source: Record | Stream) -> FrameStream:
    """Opens a source. Raises DecodeError."""
    if isinstance(source, Stream):
        return VideoStream(source.path, *_url_of_stream(source.path), is_live=True)
    if source.num_frames or is_image(source.path):
        return ImageStream(source)
    try:
        url = tar_files.ffmpeg_url(source.path)
    except OSError as error:
        raise DecodeError(source.path, f"cannot be opened ({reason_of(error)})") from error
    return VideoStream(source.path, url, None, is_live=False)


def _url_of_stream(path: str) -> tuple[str, str | None]:
    """The URL for FFmpeg, and the format if the URL does not determine it."""
    for name in DEVICE_FORMATS:
        if path.startswith(f"{name}:"):
            return path.removeprefix(f"{name}:"), name
    return path, "v4l2" if path.startswith("/dev/video") else None


class ImageStream:
    """The images of a folder in order; an image is a video of one frame."""

    num_damaged = 0

    def __init__(self, record: Record):
        self._source = open_record(record, "auto")
        self.fps = self._source.fps
        self.num_frames = self._source.num_frames

    def __iter__(self) -> Iterator[TimedFrame]:
        for index in range(self.num_frames):
            try:
                yield TimedFrame(index / self.fps, self._source.read([index])[0])
            except DecodeError as error:
                self.num_damaged += 1
                logger.warning("%s", error)

    def close(self) -> None:
        """Does nothing: no file stays open between reads."""
        self._source.close()


class VideoStream:
    """Decodes a video or stream from the start; damaged frames are skipped and counted."""

    def __init__(self, path: str, url: str, format_name: str | None, *, is_live: bool):
        self.path = path
        self.num_damaged = 0
        options = PROBED if is_live else {}
        timeout = TIMEOUT_SEC if is_live and "://" in url else None
        try:
            self._container = av.open(url, format=format_name, options=options, timeout=timeout)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise DecodeError(path, f"cannot be opened ({reason_of(error)})") from error
        self._stream = self._container.streams.best("video")
        if self._stream is None or self._stream.codec_context is None:
            self.close()
            raise DecodeError(path, "has no video stream that this FFmpeg can decode")
        # Frame threads are faster, but delay the output by as many frames as there are threads.
        self._stream.thread_type = "SLICE" if is_live else "AUTO"
        self.num_frames = self._stream.frames
        rate = self._stream.average_rate or self._stream.guessed_rate
        if not rate:
            logger.warning("%s tells no frame rate; it is taken to be %g", path, FPS_WITHOUT_RATE)
        self.fps = float(rate or FPS_WITHOUT_RATE)

    def __iter__(self) -> Iterator[TimedFrame]:
        first = None
        for number, frame in enumerate(self._frames()):
            time = number / self.fps if frame.time is None else frame.time
            first = time if first is None else first
            yield TimedFrame(time - first, _pixels(frame))

    def _frames(self) -> Iterator[av.VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:
                raise DecodeError(self.path, f"reading ended ({reason_of(error)})") from error
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self.num_damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.num_damaged += 1
                else:
                    yield frame

    def close(self) -> None:
        """Releases the file and the decoder."""
        self._container.close()


def _pixels(frame: av.VideoFrame) -> Tensor:
    """[H, W, 3] uint8, rotated as the file specifies for players."""
    pixels = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4
    return torch.from_numpy(numpy.ascontiguousarray(numpy.rot90(pixels, quarters)) if quarters else pixels)
