"""Opening video files with PyAV or decord.

A reader is given frame numbers only, so all decoders return the same frames.
"""

import io
from typing import NamedTuple

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.data import tar_files
from slowfast_mlp.data.video_io.decode_error import DecodeError, reason_of
from slowfast_mlp.data.video_io.decord_reader import DecordReader
from slowfast_mlp.data.video_io.pyav_reader import PyAvReader


class VideoInfo(NamedTuple):
    """The properties of a video that clip sampling needs."""

    num_frames: int
    fps: float


def probe(path: str, decoder: str) -> VideoInfo:
    """The exact number of frames and the frame rate of the file. Raises DecodeError."""
    with open_video(path, decoder) as video:
        return VideoInfo(video.num_frames, video.fps)


def open_video(path: str, decoder: str) -> PyAvReader | DecordReader:
    """Opens a video file; `decoder` is a key of READERS.

    A path may point into a tar: `.../shard-00000.tar/name.mp4`. Raises DecodeError.
    """
    return READERS[decoder](path)


def _open_with_pyav(path: str) -> PyAvReader:
    try:
        url = tar_files.ffmpeg_url(path)
    except OSError as error:
        raise DecodeError(path, f"cannot be opened ({reason_of(error)})") from error
    return PyAvReader(path, url)


def _open_with_decord(path: str) -> DecordReader:
    with _open_with_pyav(path) as video:  # raises for files that cannot be opened
        num_frames = video.num_frames
    is_member = tar_files.is_member(path)
    file = io.BytesIO(tar_files.read_member(path)) if is_member else g_pathmgr.get_local_path(path)
    return DecordReader(path, file, num_frames=num_frames)


# auto is PyAV: it is as fast, maintained, and does not leak memory over many files.
READERS = {"auto": _open_with_pyav, "pyav": _open_with_pyav, "decord": _open_with_decord}
