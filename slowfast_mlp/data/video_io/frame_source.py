"""The interface of everything that frames are read from by number."""

from collections.abc import Sequence
from typing import Protocol, Self

from torch import Tensor


class FrameSource(Protocol):
    """An open record. Frames are numbered from 0; `num_frames` is exact. Use it as a context manager."""

    num_frames: int
    fps: float

    def read(self, indices: Sequence[int]) -> Tensor:
        """Frames [T, H, W, 3] uint8 RGB of the given numbers, in the given order; numbers may repeat.

        Raises DecodeError if one of them cannot be read.
        """

    def close(self) -> None:
        """Releases files and decoders."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
