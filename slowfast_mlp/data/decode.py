"""Opening a video file and reading the frames of given numbers, with PyAV or decord.

A reader receives frame indices and nothing else, so that every decoder gives the same frames.
"""

from collections.abc import Sequence
from typing import NamedTuple

import av
import torch
from av.video.reformatter import VideoReformatter
from iopath.common.file_io import g_pathmgr
from torch import Tensor

from slowfast_mlp.errors import UserError


class DecodeError(Exception):
    """A video that cannot be opened or decoded; holds the file and the reason."""

    def __init__(self, path: str, reason: str):
        super().__init__(path, reason)
        self.path = path
        self.reason = " ".join(reason.split())

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class PyAvReader:
    """Reads by way of FFmpeg's libraries: indexes the packets, seeks to a keyframe, decodes until the last
    frame.

    Frame numbers are positions in the order of presentation times, over all packets of the file: headers may
    lie.
    """

    def __init__(self, path: str):
        self.path = path
        self._reformatter = VideoReformatter()  # one conversion context for all frames, not one each
        try:
            self._container = av.open(g_pathmgr.get_local_path(path))
        except (av.error.FFmpegError, OSError) as error:
            raise DecodeError(path, f"cannot be opened ({error})") from error
        self._stream = self._container.streams.best("video")
        if self._stream is None:
            self.close()
            raise DecodeError(path, "has no video stream")
        # One thread that decodes as it reads: frame threads add latency, and loaders use a process a core
        # anyway.
        self._stream.thread_count = 1
        self._stream.thread_type = "SLICE"
        try:
            self._index_packets()
        except (av.error.FFmpegError, DecodeError) as error:
            self.close()
            raise error if isinstance(error, DecodeError) else DecodeError(path, str(error)) from error

    def _index_packets(self) -> None:
        """Finds the presentation time of every frame, and of every keyframe with where to seek for it."""
        shown, self._keyframes = [], []
        for packet in self._container.demux(self._stream):
            if packet.size == 0 or packet.is_discard:
                continue  # the flush packet at the end; packets that an edit list hides
            shown.append(packet.pts)
            if packet.is_keyframe and packet.pts is not None:
                start = packet.pts if packet.dts is None else min(packet.pts, packet.dts)
                self._keyframes.append((packet.pts, start))
        if not shown:
            raise DecodeError(self.path, "its video stream is empty")
        self.num_frames = len(shown)
        # AVI has no presentation times, and what FFmpeg puts in their place is wrong around B-frames.
        timed = None not in shown and len(set(shown)) == len(shown) and self._container.format.name != "avi"
        self._times = sorted(shown) if timed else []
        self._number_of = {time: number for number, time in enumerate(self._times)}
        rate = self._stream.average_rate or self._stream.guessed_rate
        if not rate:
            raise DecodeError(self.path, "its frame rate is unknown")
        self.fps = float(rate)

    def read(self, indices: Sequence[int]) -> Tensor:
        """Frames [T, H, W, 3] uint8 RGB of the given numbers, in the given order; numbers may repeat.

        Raises DecodeError when one of them cannot be had.
        """
        wanted = sorted(set(indices))
        if wanted[0] < 0 or wanted[-1] >= self.num_frames:
            raise DecodeError(
                self.path, f"has {self.num_frames} frames; asked for {wanted[0]} to {wanted[-1]}"
            )
        try:
            frames = self._read_by_time(wanted) if self._number_of else self._read_by_count(wanted)
        except av.error.FFmpegError as error:
            raise DecodeError(self.path, str(error)) from error
        missing = [index for index in wanted if index not in frames]
        if missing:
            raise DecodeError(self.path, f"decoding ended before frame {missing[0]} of {self.num_frames}")
        if len({frame.shape for frame in frames.values()}) > 1:
            raise DecodeError(self.path, "its frames change their size")
        return torch.stack([frames[index] for index in indices])

    def _read_by_time(self, wanted: list[int], *, from_start: bool = False) -> dict[int, Tensor]:
        """Decodes from the last keyframe before each run of wanted frames, and sees that none is left out."""
        frames: dict[int, Tensor] = {}
        position, position_time = None, None  # of the frame decoded last
        decoder = iter(())
        for number in wanted:
            before = [k for k in self._keyframes if k[0] <= self._times[number]][: 1 if from_start else None]
            key, start = max(before, default=(None, None))
            if position is None or (key is not None and key > position_time):
                self._container.seek(0 if start is None else start, stream=self._stream, backward=True)
                decoder, position = self._container.decode(self._stream), None
            for frame in decoder:
                found = self._number_of.get(frame.pts)
                if found is None or found > number or position not in (None, found - 1):
                    if not from_start:  # some containers seek too far
                        return self._read_by_time(wanted, from_start=True)
                    raise DecodeError(self.path, f"the decoder leaves out frames before frame {number}")
                position, position_time = found, frame.pts
                if found == number:
                    frames[number] = self._pixels(frame)
                    break
        return frames

    def _read_by_count(self, wanted: list[int]) -> dict[int, Tensor]:
        """Decodes from the start and counts: slow, for files without usable times."""
        self._container.seek(self._stream.start_time or 0, stream=self._stream, backward=True)
        left, frames = set(wanted), {}
        for index, frame in enumerate(self._container.decode(self._stream)):
            if index in left:
                frames[index] = self._pixels(frame)
                left.discard(index)
                if not left:
                    break
        return frames

    def _pixels(self, frame: av.VideoFrame) -> Tensor:
        """[H, W, 3] uint8."""
        pixels = torch.from_numpy(self._reformatter.reformat(frame, format="rgb24").to_ndarray())
        # Phones write upright video lying, with the angle beside it.
        quarters = round(frame.rotation / 90) % 4
        return torch.rot90(pixels, quarters).contiguous() if quarters else pixels

    def close(self) -> None:
        """Frees the file and the decoder at once: a worker opens many thousands."""
        self._container.close()

    def __enter__(self) -> "PyAvReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# Tried frame by frame; of an MPEG transport stream, say, decord drops the first frames and says nothing.
DECORD_READS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")


class DecordReader:
    """The same by way of decord, for users who know it from the papers' code.

    It decodes from the start of the file. decord's own random access gives a neighbour of the wanted frame in
    files of open groups of pictures and in AVI (dmlc/decord#195, #252), and says nothing. Video of more than
    8 bits it converts to RGB in its own way: there the colours differ from PyAV's.
    """

    def __init__(self, path: str):
        try:
            import decord
        except ImportError as error:  # it has wheels for few kinds of machine
            raise UserError(
                f"DATA.DECODER decord: decord cannot be imported ({error}); use pyav or auto."
            ) from error
        if not path.lower().endswith(DECORD_READS):
            raise DecodeError(
                path, f"decord is exact for {', '.join(DECORD_READS)} only; use DATA.DECODER pyav"
            )
        self.path = path
        self._failures = (decord.DECORDError, RuntimeError, OSError, StopIteration)
        try:
            self._reader = decord.VideoReader(
                g_pathmgr.get_local_path(path), ctx=decord.cpu(0), num_threads=1
            )
            self.num_frames = len(self._reader)
            self.fps = float(self._reader.get_avg_fps())
        except self._failures as error:
            raise DecodeError(path, f"cannot be opened ({_first_line(error)})") from error
        if self.num_frames == 0:
            raise DecodeError(path, "its video stream is empty")

    def read(self, indices: Sequence[int]) -> Tensor:
        """As PyAvReader.read."""
        if min(indices) < 0 or max(indices) >= self.num_frames:
            raise DecodeError(
                self.path, f"has {self.num_frames} frames; asked for {min(indices)} to {max(indices)}"
            )
        wanted = sorted(set(indices))
        try:
            frames = self._read_forward(wanted)
        except self._failures as error:
            raise DecodeError(self.path, _first_line(error)) from error
        if frames.shape[-1] != 3:
            raise DecodeError(self.path, "decord misreads rows this narrow; DATA.DECODER pyav reads them")
        return frames[[wanted.index(index) for index in indices]]

    def _read_forward(self, wanted: list[int]) -> Tensor:
        self._reader.seek(0)
        frames = []
        for index in range(wanted[-1] + 1):
            frame = self._reader.next()  # skip_frames() would seek
            if index == wanted[len(frames)]:
                frames.append(torch.from_numpy(frame.asnumpy()))
        return torch.stack(frames)

    def close(self) -> None:
        """Frees the reader."""
        self._reader = None

    def __enter__(self) -> "DecordReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# PyAV first: it decodes as fast, is maintained, and leaks nothing over many files.
READERS = {"auto": PyAvReader, "pyav": PyAvReader, "decord": DecordReader}


class VideoInfo(NamedTuple):
    """What choosing frames needs to know of a video."""

    num_frames: int
    fps: float


def probe(path: str, decoder: str) -> VideoInfo:
    """The exact number of frames and the frame rate of the file. Raises DecodeError."""
    with open_video(path, decoder) as video:
        return VideoInfo(video.num_frames, video.fps)


def open_video(path: str, decoder: str) -> PyAvReader | DecordReader:
    """A reader of the file, with `num_frames` (exact) and `fps`; `decoder` is a key of READERS.

    Raises DecodeError.
    """
    return READERS[decoder](path)


def _first_line(error: Exception) -> str:
    """decord's errors end in a C++ stack trace, which tells a user nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
