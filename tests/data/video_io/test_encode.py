"""Videos re-encoded: every frame, upright, of even sizes, at its time, with short ways to any frame."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.encode import Encoding, encoded_size, is_constant, reencode
from slowfast_mlp.data.video_io.video import open_video
from tests.conftest import numbered_frames, numbers_shown

ENCODING = Encoding(short_side=320, gop=12, crf=18, fast_decode=False)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "new.mp4"


def read_all(path):
    """Frames [T, H, W, 3] of a file."""
    with open_video(str(path), "pyav") as video:
        return video.read(range(video.num_frames))


def times_of(path):
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (256, 340, (256, 340)),
        (720, 1280, (320, 568)),  # 568.9
        (1080, 1920, (320, 568)),
        (640, 360, (568, 320)),
        (321, 640, (320, 638)),  # 638.0
        (255, 341, (254, 340)),  # odd: a row and a column less
        (320, 320, (320, 320)),
    ],
)
def test_the_short_side_shrinks_to_320_and_never_grows(height, width, size):
    assert encoded_size(height, width, 320) == size


def test_all_frames_are_there_with_a_keyframe_every_gop(write_numbered, target):
    reencode(write_numbered("a.mp4", 50, g="250"), target, ENCODING)
    assert numbers_shown(read_all(target)) == list(range(50))
    with av.open(str(target)) as container:
        keys = [p.pts for p in container.demux(video=0) if p.size and p.is_keyframe]
        assert container.streams.video[0].average_rate == 30
        tick = container.streams.video[0].time_base
    numbers = [round(key * tick * 30) for key in keys]
    # The encoder may put one earlier, where the picture changes.
    assert numbers[0] == 0 and max(b - a for a, b in zip(numbers, [*numbers[1:], 50])) == 12


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9")]
)
def test_other_containers_become_mp4_at_a_constant_rate(write_numbered, target, name, codec):
    source = write_numbered(name, 40, fps=25, codec=codec, g="20")
    reencode(source, target, ENCODING)
    assert numbers_shown(read_all(target)) == list(range(40))
    assert times_of(target) == pytest.approx([number / 25 for number in range(40)], abs=1e-9)


def test_sizes_become_even_and_the_short_side_smaller(write_numbered, target):
    reencode(write_numbered("a.mp4", 4), target, Encoding(short_side=24, gop=12, crf=18, fast_decode=True))
    assert read_all(target).shape == (4, 24, 72, 3)  # from 48 x 144


def test_sound_is_left_out(tmp_path, target):
    source = tmp_path / "sound.mp4"
    with av.open(str(source), "w") as container:
        pictures, sound = container.add_stream("libx264", rate=30), container.add_stream("aac", rate=8000)
        sound.layout = "mono"
        pictures.width, pictures.height, pictures.pix_fmt = 144, 48, "yuv420p"
        for pixels in numbered_frames(5):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels.numpy(), format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux([*pictures.encode(None), *sound.encode(silence), *sound.encode(None)])
    reencode(str(source), target, ENCODING)
    with av.open(str(target)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize(("matrix", "full_range"), [(1, 1), (5, 2)])  # BT.709; BT.601 from 0 to 255
def test_colours_keep_their_meaning(tmp_path, target, matrix, full_range):
    source, colours = (
        tmp_path / "colours.mp4",
        np.array([[200, 40, 90], [30, 180, 60], [250, 250, 5]], np.uint8),
    )
    pixels = np.tile(colours.repeat(48, axis=0), (48, 1, 1))  # three broad columns
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 144, 48, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, full_range
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=full_range)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert abs(read_all(source)[0, 24, 24::48].numpy().astype(int) - colours).max() <= 3
    reencode(str(source), target, ENCODING)
    assert abs(read_all(target)[0, 24, 24::48].numpy().astype(int) - colours).max() <= 5


def test_a_variable_rate_keeps_its_times(tmp_path, target):
    source, times = tmp_path / "variable.mp4", [0, 1, 2, 10, 11, 30, 31, 32]
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 144, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        for time, pixels in zip(times, numbered_frames(len(times))):
            frame = av.VideoFrame.from_ndarray(pixels.numpy(), format="rgb24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    reencode(str(source), target, ENCODING)
    assert numbers_shown(read_all(target)) == list(range(8))
    assert times_of(target) == pytest.approx([time / 30 for time in times])


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turned_picture_is_written_upright(write_numbered, tmp_path, target, quarters):
    source = tmp_path / "turned.mp4"
    source.write_bytes(turned(Path(write_numbered("a.mp4", 5)).read_bytes(), quarters))
    shown = read_all(source)
    assert shown.shape[1:3] == ((48, 144) if quarters % 2 == 0 else (144, 48))
    reencode(str(source), target, ENCODING)
    with av.open(str(target)) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0 and (frame.height, frame.width) == shown.shape[1:3]
    assert (read_all(target).float() - shown.float()).abs().mean() < 3


def turned(video: bytes, quarters: int) -> bytes:
    """An mp4 file that asks its player for this many quarter turns clockwise, by its track's matrix."""
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarters]
    numbers = [cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30]
    start = video.index(b"tkhd") + 44
    matrix = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    return video[:start] + matrix + video[start + 36 :]


def test_a_damaged_source_is_refused_and_leaves_no_file(damaged_video, target):
    with pytest.raises(DecodeError, match="Invalid data found"):
        reencode(damaged_video, target, ENCODING)
    assert list(target.parent.iterdir()) == []


def test_a_file_that_is_no_video_is_refused(tmp_path, target):
    (tmp_path / "x.mp4").write_text("no video")
    with pytest.raises(DecodeError, match="cannot be re-encoded .Invalid data found"):
        reencode(str(tmp_path / "x.mp4"), target, ENCODING)


@pytest.mark.parametrize(
    ("times", "constant"),
    [
        ([0, 33, 67, 100], True),  # milliseconds at 30 frames a second, as Matroska rounds them
        ([67, 0, 100, 33], True),  # in the order of decoding
        ([500, 533, 567, 600], True),
        ([0, 33, 70, 100], False),
        ([0, None, 67], True),
        ([0, 0, 67], True),
    ],
)
def test_times_are_constant_but_for_the_rounding_of_the_container(times, constant):
    assert is_constant(times, Fraction(30), Fraction(1, 1000)) is constant
