"""Writes videos and images with PyAV, and re-encodes videos for fast reading."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.video.reformatter import VideoReformatter
from torch import Tensor

from slowfast_mlp.atomic_file import atomic_write
from slowfast_mlp.data.video_io.decode_error import DecodeError

JPEG_QUALITY = 2  # FFmpeg's scale; 2 is the best recommended
# Filters that rotate a frame by so many counterclockwise quarter turns.
UPRIGHT = {
    0: (),
    1: (("transpose", "cclock"),),
    2: (("hflip", ""), ("vflip", "")),
    3: (("transpose", "clock"),),
}


def write_video(
    path: Path, frames: Tensor, *, fps: int, options: dict[str, str], codec: str = "libx264"
) -> None:
    """Writes frames [T, H, W, 3] (uint8, RGB; even H and W) as a video; `options` are the encoder's."""
    num_frames, height, width, _ = frames.shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, fps)
        stream.thread_count = 1  # the same bytes on any machine
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(frames[index].numpy(), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_images(template: str, frames: Tensor) -> None:
    """Writes frames [T, H, W, 3] (uint8, RGB) as JPEG files, from `template`.format(1) on, in FFmpeg's best
    quality, as the forks extract Something-Something.
    """
    reformatter = VideoReformatter()
    for number, pixels in enumerate(frames.numpy(), start=1):
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.height, encoder.width, encoder.pix_fmt = *pixels.shape[:2], "yuvj420p"
        encoder.time_base = Fraction(1, 1)
        encoder.qmin, encoder.qmax = JPEG_QUALITY, JPEG_QUALITY
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        packets = encoder.encode(reformatter.reformat(frame, format="yuvj420p")) + encoder.encode(None)
        Path(template.format(number)).write_bytes(b"".join(map(bytes, packets)))


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Settings of a re-encoded video: h264, a keyframe every `gop` frames, quality `crf` (lower is better).

    Videos are resized to `short_side` if they are larger. `fast_decode` is x264's tune fastdecode: faster to
    decode, larger files.
    """

    short_side: int
    gop: int
    crf: int
    fast_decode: bool

    def options(self) -> dict[str, str]:
        """The options of the encoder."""
        tune = {"tune": "fastdecode"} if self.fast_decode else {}
        return {"crf": str(self.crf), "g": str(self.gop), **tune}


def reencode(source: str, target: Path, encoding: Encoding) -> None:
    """Re-encodes `source` as `target` (mp4): upright, without sound, with even sizes, all frames.

    A constant frame rate is written as such; variable times are kept. The file is written atomically. Raises
    DecodeError unless every frame of the source can be decoded.
    """
    try:
        with atomic_write(target) as temporary, av.open(source) as reader:
            stream = reader.streams.best("video")
            if stream is None:
                raise DecodeError(source, "has no video stream")
            # One thread each: processes run in parallel.
            stream.thread_count, stream.thread_type = 1, "SLICE"
            times = _times(reader, stream)
            rate = stream.average_rate or stream.guessed_rate
            if not times or not rate:
                raise DecodeError(source, "has no frames" if rate else "its frame rate is unknown")
            reader.seek(stream.start_time or 0, stream=stream)
            time_base = 1 / rate if is_constant(times, rate, stream.time_base) else stream.time_base
            frames = _upright(reader, stream)
            num_written = _write(frames, temporary, encoding, rate=rate, time_base=time_base)
            if num_written != len(times):
                raise DecodeError(source, f"decoding ends after {num_written} of {len(times)} frames")
    except av.error.FFmpegError as error:
        raise DecodeError(source, f"cannot be re-encoded ({error.strerror or error})") from error


def encoded_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Even height and width, with a shorter side of at most `short_side`; never enlarges."""
    scale = min(1.0, short_side / min(height, width))
    return tuple(max(2, int(side * scale / 2 + (0.5 if scale < 1 else 0)) * 2) for side in (height, width))


def is_constant(times: list[int | None], rate: Fraction, time_base: Fraction) -> bool:
    """Whether presentation times have a constant rate, up to rounding to the time base.

    Missing or duplicate times are unusable and count as constant.
    """
    if None in times or len(set(times)) < len(times):
        return True
    start = min(times)
    return all(
        abs((time - start) * time_base - number / rate) <= time_base
        for number, time in enumerate(sorted(times))
    )


def _times(reader: av.container.InputContainer, stream: av.VideoStream) -> list[int | None]:
    """The presentation time of every packet that is shown."""
    times = [packet.pts for packet in reader.demux(stream) if packet.size > 0 and not packet.is_discard]
    # AVI has no presentation times; those that FFmpeg derives are wrong around B-frames.
    return [None] * len(times) if reader.format.name == "avi" else times


def _upright(reader: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """The frames of the stream, rotated as the file specifies for players."""
    graph = None
    for frame in reader.decode(stream):
        quarters = round(frame.rotation / 90) % 4
        if not quarters:
            yield frame
            continue
        if graph is None:
            graph = av.filter.Graph()
            nodes = [graph.add_buffer(template=stream)]
            nodes += [graph.add(name, how or None) for name, how in UPRIGHT[quarters]]
            graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        graph.vpush(frame)
        yield graph.vpull()


def _write(
    frames: Iterator[av.VideoFrame], path: Path, encoding: Encoding, *, rate: Fraction, time_base: Fraction
) -> int:
    """Encodes the frames and returns their number. With a time base of 1 / rate, times are frame numbers;
    else frames keep their times.
    """
    reformatter = VideoReformatter()
    num_written, stream = 0, None
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as writer:
        for frame in frames:
            if stream is None:
                height, width = encoded_size(frame.height, frame.width, encoding.short_side)
                stream = writer.add_stream("libx264", rate=rate, options=encoding.options())
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                stream.codec_context.time_base = time_base
                stream.thread_count = 1
            converted = reformatter.reformat(
                frame, width=width, height=height, format="yuv420p", interpolation="BICUBIC"
            )
            if num_written == 0:
                _copy_color_properties(stream.codec_context, converted)
            converted.pts = num_written if time_base == 1 / rate else frame.pts
            converted.time_base = time_base
            converted.pict_type = 0  # the encoder chooses its keyframes itself
            writer.mux(stream.encode(converted))
            num_written += 1
        if stream is not None:
            writer.mux(stream.encode(None))
    return num_written


def _copy_color_properties(encoder: av.VideoCodecContext, frame: av.VideoFrame) -> None:
    """Copies the color properties to the file: players guess what is missing."""
    encoder.colorspace, encoder.color_range = frame.colorspace, frame.color_range
    encoder.color_primaries, encoder.color_trc = frame.color_primaries, frame.color_trc
