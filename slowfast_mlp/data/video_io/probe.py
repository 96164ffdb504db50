"""Probing a video file, an image or a folder of frames: what it contains, and whether it can be decoded."""

import os
from typing import NamedTuple

import av

from slowfast_mlp.data import tar_files
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.decode_error import DecodeError, reason_of
from slowfast_mlp.data.video_io.images import is_image
from slowfast_mlp.data.video_io.source import open_record

# How much is decoded: nothing, the first and last frame with the reader of training, or every frame.
DECODE = ("none", "ends", "all")
# Matroska's header has no frame count: a file that ends this much before its duration was cut off.
CUT_SEC, CUT_SHARE = 0.5, 0.05


class Contents(NamedTuple):
    """What a record contains. The size of a video is the stored one, before any rotation.

    Images have no frame rate (0), and no size (0) unless they were decoded.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    codec: str


def probe_record(record: Record, *, decode: str, decoder: str) -> Contents:
    """The contents of a video, an image or a folder of frames. `decode` is one of DECODE; `decoder` is an
    argument of `open_record`. Raises DecodeError.
    """
    if record.num_frames or is_image(record.path):
        return _probe_images(record, decode, decoder)
    contents = _probe(record.path)
    if decode == "ends":
        try:
            with open_record(record, decoder) as video:
                video.read([0, video.num_frames - 1])
        except DecodeError:
            _decode_all(record.path, contents.num_frames)  # its message says where decoding ends
            raise
    elif decode == "all":
        _decode_all(record.path, contents.num_frames)
    return contents


def _probe_images(record: Record, decode: str, decoder: str) -> Contents:
    """Counts the frames from the first on; there may be more than the list says."""
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
    """The header, with the frames counted in the packets: the number in a header may be wrong or missing."""
    try:
        with av.open(tar_files.ffmpeg_url(path)) as container:
            stream = _video_stream(container, path)
            rate = stream.average_rate or stream.guessed_rate
            num_frames, end_sec = _count_packets(container, stream)
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


def _count_packets(container: av.container.InputContainer, stream: av.VideoStream) -> tuple[int, float]:
    """The number of frames of the video stream, and the time at which the last packet of any stream ends."""
    num_frames, end_sec = 0, 0.0
    for packet in container.demux():
        num_frames += packet.stream is stream and packet.size > 0 and not packet.is_discard
        if packet.pts is not None:
            end_sec = max(end_sec, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return num_frames, end_sec


def _decode_all(path: str, num_frames: int) -> None:
    """Decodes every frame, and raises DecodeError unless all are undamaged and of one size."""
    are_damaged, sizes = [], set()
    reason = "the decoder gives no more"
    try:
        with av.open(tar_files.ffmpeg_url(path)) as container:
            stream = _video_stream(container, path)
            stream.thread_count, stream.thread_type = 1, "SLICE"  # processes run in parallel, not threads
            for frame in container.decode(stream):
                are_damaged.append(bool(frame.is_corrupt))
                sizes.add((frame.width, frame.height))
    except (av.error.FFmpegError, OSError) as error:
        reason = reason_of(error)
    if len(are_damaged) < num_frames:
        raise DecodeError(path, f"decoding ends after {len(are_damaged)} of {num_frames} frames ({reason})")
    if any(are_damaged):
        first, number = are_damaged.index(True), sum(are_damaged)
        raise DecodeError(path, f"{number} of {num_frames} frames are damaged, from frame {first}")
    if len(sizes) > 1:
        raise DecodeError(path, "its frames change their size")


def _video_stream(container: av.container.InputContainer, path: str) -> av.VideoStream:
    stream = container.streams.best("video")
    if stream is None:
        raise DecodeError(path, "has no video stream")
    return stream
