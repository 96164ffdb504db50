"""What becomes of odd and damaged files: for each decoder the frames that it gives, or the words it refuses
with. Nothing is wrong in silence, and nothing hangs.
"""

import io
import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest
import torch

from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.pyav_reader import IS_PYAV_17
from slowfast_mlp.data.video_io.timeout import with_timeout
from slowfast_mlp.data.video_io.video import open_video
from tests.conftest import numbered_frames, numbers_shown

DEADLINE_SEC = 30  # that of a test which would otherwise hang; nothing here comes near it
NOISE = bytes(torch.randint(0, 256, (2000,), generator=torch.Generator().manual_seed(0)).tolist())


def write(path, num_frames=40, *, first=0, stretch=1, times=None, extra_sizes=(), options=None, **container):
    """A video of numbered frames from number `first`, each `stretch` times as wide; `times` are when they are
    shown, in milliseconds; `extra_sizes` are the widths of further streams.
    """
    ticks = Fraction(1, 1000 if times else 30)
    with av.open(path if hasattr(path, "write") else str(path), "w", **container) as file:
        streams = []
        for width in (144 * stretch, *extra_sizes):
            stream = file.add_stream("libx264", rate=30, options=options or {"g": "12"})
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
            stream.time_base = stream.codec_context.time_base = ticks
            streams.append(stream)
        for number, frame in enumerate(numbered_frames(first + num_frames)[first:], start=first):
            wide = frame.repeat_interleave(stretch, dim=1)
            for stream in streams:
                pixels = wide[:, : stream.width].contiguous().numpy()
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                picture.pts, picture.time_base = times[number] if times else number, ticks
                file.mux(stream.encode(picture))
        for stream in streams:
            file.mux(stream.encode(None))


def whole(path):
    write(path)


def truncated(path):
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncated_behind_its_index(path):
    write(path, options={"g": "12"}, container_options={"movflags": "faststart"})
    data = path.read_bytes()
    start = data.index(b"mdat")
    path.write_bytes(data[: start + (len(data) - start) // 2])


def without_index(path):
    write(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])


def zeros(path):
    path.write_bytes(bytes(5000))


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("not a video\n" * 50)


def one_frame(path):
    write(path, 1)


def fragmented(path):
    write(path, container_options={"movflags": "frag_keyframe+empty_moov"})


class Pipe(io.RawIOBase):
    """A file that cannot go back to write a duration into its header."""

    def __init__(self, path):
        self.path = path

    def writable(self):
        return True

    def write(self, data):
        with open(self.path, "ab") as file:
            return file.write(data)


def without_duration(path):
    write(Pipe(path), format="matroska", container_options={"live": "1"})


def variable_rate(path):
    write(path, 10, times=[0, 40, 50, 200, 210, 220, 1000, 1001, 1500, 2000], options={"g": "4"})


def late_start(path):
    write(path, times=[10_000 + 33 * number for number in range(40)])


def one_long_group(path):
    write(path, 300, options={"g": "1000", "sc_threshold": "0"})


def two_streams(path):
    write(path, extra_sizes=(72,))


def odd_size(path):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"crf": "1", "g": "3"})
        stream.width, stream.height, stream.pix_fmt = 145, 49, "yuv444p"
        for frame in numbered_frames(10):
            pixels = torch.nn.functional.pad(frame.permute(2, 0, 1), (0, 1, 0, 1)).permute(1, 2, 0)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels.contiguous().numpy(), format="rgb24")))
        file.mux(stream.encode(None))


def cut_by_an_edit_list(path):
    """The same packets, of which the player shall show the last 25 only."""
    write(path)
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12
    duration, media_time, rate = struct.unpack(">IiI", data[entry : entry + 12])
    header = data.index(b"mdhd") + 16
    (ticks_per_second,) = struct.unpack(">I", data[header : header + 4])
    media_time += 15 * ticks_per_second // 30
    data[entry : entry + 12] = struct.pack(">IiI", duration, media_time, rate)
    path.write_bytes(data)


def sound_only(path):
    with av.open(str(path), "w") as file:
        sound = file.add_stream("aac", rate=16000)
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.sample_rate = 16000
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        file.mux(sound.encode(silence))
        file.mux(sound.encode(None))


def garbage_in_the_middle(path):
    write(path)
    data = path.read_bytes()
    middle = (data.index(b"mdat") + data.index(b"moov")) // 2
    path.write_bytes(data[:middle] + NOISE[:200] + data[middle + 200 :])


def garbage_at_the_end(path):
    write(path)
    path.write_bytes(path.read_bytes() + NOISE)


def growing(path):
    """Twenty frames 144 wide, then twenty of twice that: two streams one behind the other."""
    parts = [path.with_suffix(f".{stretch}.ts") for stretch in (1, 2)]
    for part, stretch in zip(parts, (1, 2)):
        write(part, 20, first=20 * (stretch - 1), stretch=stretch, options={"g": "12", "bf": "0"})
    joined = path.with_suffix(".ts")
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with av.open(str(joined)) as source, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                file.mux(packet)


EVERY = list(range(40))
NOT_ONE = "cannot be opened (Invalid data found"
# Maker, suffix, what PyAV gives, what decord gives: numbers that the frames show, or words of the refusal.
ZOO = [
    (whole, ".mp4", EVERY, EVERY),
    (truncated, ".mp4", NOT_ONE, NOT_ONE),
    (truncated_behind_its_index, ".mp4", "is cut off: of 40 frames 8 are", "is cut off: of 40"),
    (without_index, ".mp4", NOT_ONE, NOT_ONE),
    (zeros, ".mp4", NOT_ONE, NOT_ONE),
    (empty, ".mp4", NOT_ONE, NOT_ONE),
    (text, ".mp4", NOT_ONE, NOT_ONE),
    (one_frame, ".mp4", [0], [0]),
    (fragmented, ".mp4", EVERY, EVERY),
    (without_duration, ".mkv", EVERY, "broken metadata"),
    (variable_rate, ".mkv", list(range(10)), list(range(10))),
    (late_start, ".mkv", EVERY, EVERY),
    (one_long_group, ".mp4", list(range(300)), list(range(300))),
    (two_streams, ".mp4", EVERY, EVERY),
    (cut_by_an_edit_list, ".mp4", list(range(15, 40)), "counts 28 frames where there are 25"),
    (sound_only, ".mp4", "has no video stream", "has no video stream"),
    (garbage_in_the_middle, ".mp4", "Invalid data found", "Error sending packet"),
    (garbage_at_the_end, ".mp4", EVERY, EVERY),
]
DECODERS = ("pyav", "decord")
CASES = [
    pytest.param(maker, suffix, decoder, expected, id=f"{maker.__name__}-{decoder}")
    for maker, suffix, *both in ZOO
    for decoder, expected in zip(DECODERS, both)
]


def read_in_time(path, decoder, indices=None):
    """All frames, or those of `indices`."""

    def read():
        with open_video(str(path), decoder) as video:
            return video.read(range(video.num_frames) if indices is None else indices)

    return with_timeout(DEADLINE_SEC, str(path), read)


@pytest.fixture
def make(tmp_path):
    def make(maker, suffix):
        path = tmp_path / f"odd{suffix}"
        maker(path)
        return path

    return make


@pytest.mark.parametrize(("maker", "suffix", "decoder", "expected"), CASES)
def test_a_file_gives_its_frames_or_is_refused_by_name(make, maker, suffix, decoder, expected):
    if maker is truncated_behind_its_index and not IS_PYAV_17:
        pytest.skip("before PyAV 17 the container's index cannot be read")
    path = make(maker, suffix)
    assert path.stat().st_size < 100_000
    if isinstance(expected, list):
        assert numbers_shown(read_in_time(path, decoder)) == expected
        last = len(expected) - 1  # one read of one reader after the other, backwards
        for index in (last, last // 2, 0):
            assert numbers_shown(read_in_time(path, decoder, [index])) == [expected[index]]
    else:
        with pytest.raises(DecodeError) as refusal:
            read_in_time(path, decoder)
        assert str(refusal.value).startswith(f"{path}: ") and expected in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_of_a_file_with_garbage_the_groups_of_pictures_without_it_can_be_had(make):
    path = make(garbage_in_the_middle, ".mp4")
    for index in (0, 6, 24, 39):
        assert numbers_shown(read_in_time(path, "pyav", [index])) == [index]
    for index in (12, 18, 23):
        with pytest.raises(DecodeError, match="odd.mp4: Invalid data found"):
            read_in_time(path, "pyav", [index])


def test_odd_sizes_are_kept(make):
    path = make(odd_size, ".mp4")
    for decoder in DECODERS:
        frames = read_in_time(path, decoder)
        assert frames.shape == (10, 49, 145, 3)
        assert numbers_shown(frames[:, :48, :144]) == list(range(10))


def test_frames_that_change_their_size_are_refused_together_by_pyav_and_scaled_by_decord(make):
    path = make(growing, ".mkv")
    assert read_in_time(path, "pyav", [19]).shape == (1, 48, 144, 3)
    assert read_in_time(path, "pyav", [20]).shape == (1, 48, 288, 3)
    with pytest.raises(DecodeError, match="its frames change their size"):
        read_in_time(path, "pyav", [19, 20])
    assert numbers_shown(read_in_time(path, "decord")) == EVERY


def test_a_name_with_a_colon_is_a_file(make, tmp_path):
    whole(Path(tmp_path / "take:2.mp4"))
    assert numbers_shown(read_in_time(tmp_path / "take:2.mp4", "pyav", [5])) == [5]
