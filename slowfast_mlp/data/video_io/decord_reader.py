"""Reads frames with decord, for comparison with the papers' code."""

from collections.abc import Sequence
from typing import BinaryIO

import torch
from torch import Tensor

from slowfast_mlp.data.annotations import VIDEO_SUFFIXES
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.frame_source import FrameSource
from slowfast_mlp.errors import UserError


class DecordReader(FrameSource):
    """Reads frames with decord. `file` is a path or an open file; `num_frames` is the count of PyAvReader.

    It always decodes from the start of the file: decord's random access silently returns a neighboring frame
    in files with open GOPs and in AVI (dmlc/decord#195, #252). For video of more than 8 bits, decord's RGB
    conversion differs from PyAV's.
    """

    def __init__(self, path: str, file: str | BinaryIO, *, num_frames: int):
        try:
            import decord
        except ImportError as error:  # it has wheels for few kinds of machine
            raise UserError(
                f"DATA.DECODER decord: decord cannot be imported ({error}); use pyav or auto."
            ) from error
        # decord silently drops the first frames of an MPEG transport stream, for example.
        if not path.lower().endswith(VIDEO_SUFFIXES):
            raise DecodeError(
                path, f"decord is exact for {', '.join(VIDEO_SUFFIXES)} only; use DATA.DECODER pyav"
            )
        self.path = path
        self._failures = (decord.DECORDError, RuntimeError, OSError, StopIteration)
        try:
            self._reader = decord.VideoReader(file, ctx=decord.cpu(0), num_threads=1)
            self.num_frames = len(self._reader)
            self.fps = float(self._reader.get_avg_fps())
        except self._failures as error:
            raise DecodeError(path, f"cannot be opened ({_first_line(error)})") from error
        if (
            self.num_frames != num_frames
        ):  # it counts frames hidden by an edit list, and repeats the last frame
            raise DecodeError(
                path,
                f"decord counts {self.num_frames} frames where there are {num_frames}; use DATA.DECODER pyav",
            )

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


def _first_line(error: Exception) -> str:
    """The message without the C++ stack trace of decord's errors."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
