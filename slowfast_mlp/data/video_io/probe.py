"""What is in a video file, a picture or a folder of frames, and how much of it can be decoded."""

import os
from typing import NamedTuple

import av

from slowfast_mlp.data import tar_files
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.decode_error import DecodeError, reason_of
from slowfast_mlp.data.video_io.images import is_picture
from slowfast_mlp.data.video_io.source import open_record

# How much is decoded: nothing, the first and the last frame by the reader of training, or every frame.
DECODE = ("none", "ends", "all")
# Matroska's header counts no frames: a file that ends this much before its time was cut off.
CUT_SEC, CUT_SHARE = 0.5, 0.05


class Contents(NamedTuple):
    """What was found. Pictures have no frame rate (0); a video's pixels are as stored, before any rotation.

    What was not decoded has no size (0).
    """

    num_frames: int
    fps: float
    width: int
    height: int
    codec: str


def probe_record(record: Record, *, decode: str, decoder: str) -> Contents:
    """The contents of a video, a picture or a folder of frames; `decode` is one of DECODE, `decoder` a
    setting of open_record.

    Raises DecodeError with what is wrong.
    """
    if record.num_frames or is_picture(record.path):
        return _examine_pictures(record, decode, decoder)
    contents = _probe(record.path)
    if decode == "ends":
        try:
            with open_record(record, decoder) as video:
                video.read([0, video.num_frames - 1])
        except DecodeError:
            _decode_all(record.path, contents.num_frames)  # says more of where it ends
            raise
    elif decode == "all":
        _decode_all(record.path, contents.num_frames)
    return contents


def _examine_pictures(record: Record, decode: str, decoder: str) -> Contents:
    """As many frames as there are from the first on, which may be more than the list says."""
    num_listed = record.num_frames or 1
    last = record.path.format(record.first_frame + num_listed - 1) if record.num_frames else record.path
    if not tar_files.exists(last):
        raise DecodeError(record.path, f"the list says {num_listed} frames, but there is no {last}")
    num_frames = num_listed
    while record.num_frames and tar_files.exists(record.path.format(record.first_frame + num_frames)):
        num_frames += 1
    chosen = {"none": [], "ends": sorted({0, num_listed - 1}), "all": range(num_listed)}[decode]
    sizes = set()
    with open_record(record, decoder) as source:
        for index in chosen:
            sizes.add(source.read([index]).shape[1:3])
    if len(sizes) > 1:
        raise DecodeError(record.path, "its frames change their size")
    height, width = max(sizes, default=(0, 0))
    return Contents(num_frames, 0.0, width, height, os.path.splitext(last)[1].removeprefix("."))


def _probe(path: str) -> Contents:
    """The header, with the frames counted in the packets: headers may lie, or keep silent."""
    num_frames, end_sec = 0, 0.0
    try:
        with av.open(tar_files.ffmpeg_url(path)) as container:
            stream = _video_stream(container, path)
            rate = stream.average_rate or stream.guessed_rate
            for packet in container.demux():
                num_frames += packet.stream is stream and packet.size > 0 and not packet.is_discard
                if packet.pts is not None:
                    end_sec = max(end_sec, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            codec = stream.codec_context
            contents = Contents(
                num_frames, float(rate or 0), codec.width, codec.height, codec.codec.canonical_name
            )
            num_promised = stream.frames
            promised_sec = ((container.start_time or 0) + (container.duration or 0)) / av.time_base
    except (av.error.FFmpegError, OSError) as error:
        raise DecodeError(path, f"cannot be opened ({reason_of(error)})") from error
    if not num_frames:
        raise DecodeError(path, "its video stream is empty")
    if num_frames < num_promised:
        raise DecodeError(path, f"is cut short: {num_frames} of the {num_promised} frames of its header")
    if promised_sec - end_sec > max(CUT_SEC, CUT_SHARE * promised_sec):
        raise DecodeError(
            path, f"is cut short: ends after {end_sec:.1f} of the {promised_sec:.1f} s of its header"
        )
    if not rate:
        raise DecodeError(path, "its frame rate is unknown")
    return contents


def _decode_all(path: str, num_frames: int) -> None:
    """Decodes every frame without keeping any, and demands that all come out whole and of one size."""
    num_decoded, num_damaged, first_damaged, sizes = 0, 0, 0, set()
    reason = "the decoder gives no more"
    try:
        with av.open(tar_files.ffmpeg_url(path)) as container:
            stream = _video_stream(container, path)
            stream.thread_count, stream.thread_type = 1, "SLICE"  # the processes are the parallel ones
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    first_damaged = first_damaged if num_damaged else num_decoded
                    num_damaged += 1
                num_decoded += 1
                sizes.add((frame.width, frame.height))
    except (av.error.FFmpegError, OSError) as error:
        reason = reason_of(error)
    if num_decoded < num_frames:
        raise DecodeError(path, f"decoding ends after {num_decoded} of {num_frames} frames ({reason})")
    if num_damaged:
        raise DecodeError(
            path, f"{num_damaged} of {num_frames} frames are damaged, from frame {first_damaged}"
        )
    if len(sizes) > 1:
        raise DecodeError(path, "its frames change their size")


def _video_stream(container: av.container.InputContainer, path: str) -> av.VideoStream:
    stream = container.streams.best("video")
    if stream is None:
        raise DecodeError(path, "has no video stream")
    return stream
