"""Reads frames with PyAV, decoding as few packets as possible."""

from collections.abc import Iterator, Sequence
from itertools import chain

import av
import numpy
import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor

from slowfast_mlp.data.video_io.decode_error import DecodeError, reason_of
from slowfast_mlp.data.video_io.frame_source import FrameSource
from slowfast_mlp.data.video_io.packets import (
    Packet,
    PacketRange,
    are_timed,
    keyframe_positions,
    packet_ranges,
)

# Codecs that mark frames to which no other frame refers: skipping these changes no other frame. In HEVC the
# mark only holds within one temporal layer; VP9 and AV1 mark them in ways that FFmpeg ignores.
SKIPPABLE = ("h264", "mpeg4", "mpeg2video")
# AV_FIELD_UNKNOWN and AV_FIELD_PROGRESSIVE. Of an interlaced frame, FFmpeg might skip only one field.
WHOLE_FRAMES = (0, 1)
# Since PyAV 17 a conversion uses one thread per core by default. Older versions expose neither the field
# order nor the container's index: there no frame is skipped, and truncated files are not detected.
IS_PYAV_17 = int(av.__version__.split(".")[0]) >= 17
ONE_THREAD = {"threads": 1} if IS_PYAV_17 else {}
# Up to this many packets are read and dropped instead of seeking.
NEAR = 64


class _IndexMismatch(Exception):
    """The packets differ from the index. Decoding from the start may still work."""


class _Damaged(Exception):
    """The decoder concealed a frame that it could not decode."""


class PyAvReader(FrameSource):
    """Indexes the packets of a file, then decodes from keyframes to the wanted frames.

    Frame numbers are positions in presentation order over all packets, because headers may be wrong. FFmpeg
    opens `url`; messages name `path`.
    """

    def __init__(self, path: str, url: str):
        self.path = path
        # The cost of all reads so far, in frames.
        self.num_decoded = self.num_converted = 0
        self._reformatter = VideoReformatter()  # one conversion context for all frames, not one each
        try:
            self._container = av.open(url)
        except (av.error.FFmpegError, OSError) as error:
            raise DecodeError(path, f"cannot be opened ({reason_of(error)})") from error
        try:
            self._open_stream()
            self._index_packets()
        except av.error.FFmpegError as error:
            self.close()
            raise DecodeError(path, reason_of(error)) from error
        except DecodeError:
            self.close()
            raise

    def _open_stream(self) -> None:
        self._stream = self._container.streams.best("video")
        if self._stream is None:
            raise DecodeError(self.path, "has no video stream")
        # One thread: frame threads add latency, and loaders run one process per core anyway.
        self._stream.thread_count = 1
        self._stream.thread_type = "SLICE"
        self._decoder = self._stream.codec_context
        if self._decoder is None:
            raise DecodeError(self.path, "its codec is unknown to this FFmpeg")
        self._may_skip = (
            IS_PYAV_17 and self._decoder.name in SKIPPABLE and self._decoder.field_order in WHOLE_FRAMES
        )

    def _index_packets(self) -> None:
        """Indexes all packets by presentation time."""
        self._packets = [
            Packet(packet.pts, packet.dts, packet.is_keyframe, packet.is_discard)
            for packet in self._container.demux(self._stream)
            if packet.size  # the flush packet at the end has none
        ]
        self._refuse_cut_file()
        shown = [packet.time for packet in self._packets if not packet.is_hidden]
        if not shown:
            raise DecodeError(self.path, "its video stream is empty")
        self.num_frames = len(shown)
        # AVI has no presentation times, and those that FFmpeg derives are wrong around B-frames.
        self._timed = are_timed(self._packets) and self._container.format.name != "avi"
        if self._timed:
            self._times = sorted(shown)
            self._position_of = {packet.time: at for at, packet in enumerate(self._packets)}
            self._keyframes = keyframe_positions(self._packets)
        self._next: int | None = None  # position of the packet that the container gives next
        rate = self._stream.average_rate or self._stream.guessed_rate
        if not rate:
            raise DecodeError(self.path, "its frame rate is unknown")
        self.fps = float(rate)

    def _refuse_cut_file(self) -> None:
        """Raises DecodeError if an mp4 lists more packets than it has, which FFmpeg ignores."""
        if IS_PYAV_17 and "mp4" in self._container.format.name.split(","):
            num_named = sum(entry.size > 0 for entry in self._stream.index_entries)
            if num_named > len(self._packets):
                raise DecodeError(
                    self.path, f"is cut off: of {num_named} frames {len(self._packets)} are in the file"
                )

    def read(self, indices: Sequence[int]) -> Tensor:
        """As FrameSource.read; bit-identical to decoding the whole file."""
        wanted = sorted(set(indices))
        if wanted[0] < 0 or wanted[-1] >= self.num_frames:
            raise DecodeError(
                self.path, f"has {self.num_frames} frames; asked for {wanted[0]} to {wanted[-1]}"
            )
        frames = _Frames(self.path, wanted)
        try:
            if self._timed:
                self._read_by_time(frames)
            else:
                self._read_by_count(frames)
        except (av.error.FFmpegError, _IndexMismatch, _Damaged) as error:
            self._next = None
            raise DecodeError(self.path, reason_of(error)) from error
        if frames.left:
            first = min(frames.left)
            raise DecodeError(self.path, f"decoding ended before frame {first} of {self.num_frames}")
        return frames.in_order(indices)

    def _read_by_time(self, frames: "_Frames") -> None:
        """Decodes the packets that the wanted frames need. If that fails, decodes from the start."""
        numbers = {self._times[number]: number for number in frames.left}
        positions = [self._position_of[time] for time in numbers]
        try:
            for run in packet_ranges(self._packets, self._keyframes, positions):
                self._decode(run, numbers, frames, skip=self._may_skip)
        except (av.error.FFmpegError, _IndexMismatch, _Damaged):
            self._next = None
        if frames.left:
            # Some containers seek too far; some streams mark frames as keyframes that need earlier frames.
            self._next = None
            self._decode(PacketRange(0, max(positions)), numbers, frames, skip=False)

    def _decode(self, run: PacketRange, numbers: dict[int, int], frames: "_Frames", *, skip: bool) -> None:
        """Decodes all packets of a range and keeps the frames whose times are in `numbers`.

        It does not stop early, because a damaged frame may come out after the frames that refer to it.
        """
        self._decoder.flush_buffers()
        self._decoder.skip_frame = "DEFAULT"
        first = self._packets[run.first]
        checked = run.first == 0 or first.is_hidden
        times = []
        for packet in chain(self._demux(run), [None]):  # None flushes the decoder
            if skip and packet is not None:
                self._decoder.skip_frame = "DEFAULT" if packet.pts in numbers else "NONREF"
            for frame in self._decoder.decode(packet):
                self.num_decoded += 1
                number = numbers.get(frame.pts)
                if frame.pts is None or (frame.pts < first.time and (run.first or number is None)):
                    continue  # in an open GOP: its references are missing, and no frame refers to it
                checked = checked or self._is_true_keyframe(frame, first)
                if frame.is_corrupt:
                    raise _Damaged("the file is damaged: the decoder had to guess pixels")
                times.append(frame.pts)
                if number in frames.left:
                    frames.put(number, self._pixels(frame))
        if not skip:
            self._check_complete(run, times)
        frames.left -= {numbers[time] for time in times if time in numbers}

    def _check_complete(self, run: PacketRange, times: Sequence[int]) -> None:
        """Raises _Damaged if a frame of the range is missing from the decoded `times`."""
        # Frames at the start of a file that cannot be decoded are missing from every read.
        start = min(times, default=0)
        expected = {
            packet.time
            for packet in self._packets[run.first : run.last + 1]
            if packet.time >= start and not packet.is_hidden
        }
        if not expected <= set(times):
            raise _Damaged("the file is damaged: the decoder leaves out frames")

    def _is_true_keyframe(self, frame: av.VideoFrame, first: Packet) -> bool:
        """Returns True if the first frame of a range is a keyframe from its first packet; else raises.

        Otherwise the container's keyframe may be the start of a gradual refresh. FFmpeg then drops frames
        until it considers the refresh complete, and is sometimes wrong.
        """
        if frame.pts != first.time or not frame.key_frame:
            raise _IndexMismatch("decoding cannot start at a keyframe of the file")
        return True

    def _demux(self, run: PacketRange) -> Iterator[av.Packet]:
        """Yields the packets of a range, each checked against the index."""
        if self._next is None or not 0 <= run.first - self._next <= NEAR:
            first = self._packets[run.first]
            start = min(first.time, first.time if first.decode_time is None else first.decode_time)
            self._container.seek(start, stream=self._stream, backward=True)
            self._next = None
        for packet in self._container.demux(self._stream):
            if not packet.size:
                break
            position = self._position_of.get(packet.pts)
            sought_too_far = self._next is None and position is not None and position > run.first
            if position is None or sought_too_far or self._next not in (None, position):
                raise _IndexMismatch("reading again gives other packets than at first")
            self._next = position + 1
            if position >= run.first:
                yield packet
            if position == run.last:
                return
        raise _IndexMismatch("reading again gives fewer packets than at first")

    def _read_by_count(self, frames: "_Frames") -> None:
        """Decodes from the start and counts: slow, for files without usable times."""
        self._decoder.skip_frame = "DEFAULT"
        self._container.seek(self._stream.start_time or 0, stream=self._stream, backward=True)
        for index, frame in enumerate(self._container.decode(self._stream)):
            self.num_decoded += 1
            if frame.is_corrupt:
                raise _Damaged(f"frame {index} is damaged: the decoder had to guess pixels")
            if index in frames.left:
                frames.put(index, self._pixels(frame))
                frames.left.discard(index)
                if not frames.left:
                    break

    def _pixels(self, frame: av.VideoFrame) -> numpy.ndarray:
        """[H, W, 3] uint8, upright: a view of the converted frame, whose rows may be padded."""
        self.num_converted += 1
        plane = self._reformatter.reformat(frame, format="rgb24", **ONE_THREAD).planes[0]
        rows = numpy.frombuffer(plane, numpy.uint8).reshape(plane.height, plane.line_size)
        pixels = rows[:, : 3 * plane.width].reshape(plane.height, plane.width, 3)
        # Phones store upright video rotated, with the angle as metadata.
        quarters = round(frame.rotation / 90) % 4
        return numpy.rot90(pixels, quarters) if quarters else pixels

    def close(self) -> None:
        """Releases the file and the decoder at once: a worker opens many thousands."""
        self._container.close()


class _Frames:
    """The wanted frames of one read; `left` are the numbers that are not confirmed yet."""

    def __init__(self, path: str, wanted: Sequence[int]):
        self._path = path
        self._row_of = {number: row for row, number in enumerate(wanted)}
        self._pixels = numpy.empty(0, numpy.uint8)
        self.left = set(wanted)

    def put(self, number: int, pixels: numpy.ndarray) -> None:
        """Copies the pixels [H, W, 3] of a frame; all must have the size of the first."""
        if not len(self._pixels):
            self._pixels = numpy.empty((len(self._row_of), *pixels.shape), numpy.uint8)
        if self._pixels.shape[1:] != pixels.shape:
            raise DecodeError(self._path, "its frames change their size")
        self._pixels[self._row_of[number]] = pixels

    def in_order(self, indices: Sequence[int]) -> Tensor:
        """Frames [T, H, W, 3] of the numbers, which may repeat."""
        rows = [self._row_of[number] for number in indices]
        as_asked = rows == list(range(len(self._pixels)))
        return torch.from_numpy(self._pixels if as_asked else self._pixels[rows])
