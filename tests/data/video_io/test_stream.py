"""Frames read forward: all of them, each once, the same as a reader gives by number."""

import logging
import weakref
from fractions import Fraction

import av
import pytest
import torch
from PIL import Image

from slowfast_mlp.data.records import Record, escape_braces
from slowfast_mlp.data.sliding_window import slide
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.frame_writer import FrameWriter
from slowfast_mlp.data.video_io.stream import Stream, TimedFrame, is_stream, open_stream
from slowfast_mlp.data.video_io.video import open_video
from slowfast_mlp.errors import UserError
from tests.conftest import numbered_frames, numbers_shown


def read_all(source):
    video = open_stream(source)
    frames = list(video)
    video.close()
    return video, torch.stack([frame.pixels for frame in frames]), [frame.time_sec for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("b.mkv", "libx264"), ("c.avi", "mpeg4"), ("d.ts", "libx264")]
)
def test_every_frame_of_a_file_comes_once_and_in_order(write_numbered, name, codec):
    path = write_numbered(name, 75, codec=codec)
    video, frames, times = read_all(Record(path, 0))
    assert (numbers_shown(frames), video.fps, video.num_damaged) == (list(range(75)), 30.0, 0)
    assert times == pytest.approx([number / 30 for number in range(75)], abs=1e-3)


@pytest.mark.parametrize(
    "name",
    ["arm_wrestling.mp4", "flipping_pancake.mkv", "h265_10bits.mp4", "mpeg4_clip.avi", "nasa_13013.mp4"],
)
def test_the_pixels_are_those_that_a_test_reads(shared_folder, name):
    path = str(shared_folder / "videos" / name)
    video = open_stream(Record(path, 0))
    with open_video(path, "pyav") as reader:
        num_frames = 0
        for number, frame in enumerate(video):
            num_frames += 1
            if number % 25 == 0:
                assert torch.equal(frame.pixels, reader.read([number])[0])
        assert num_frames == reader.num_frames
    video.close()


def test_a_video_that_lies_is_turned_upright(tmp_path):
    path = str(tmp_path / "lying.mp4")
    frames = torch.zeros(4, 48, 64, 3, dtype=torch.uint8)
    frames[:, :24] = 255
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24")))
        container.mux(stream.encode(None))
    data = bytearray((tmp_path / "lying.mp4").read_bytes())
    matrix = data.index(b"tkhd") + 44  # of version 0: a, b, u, c, d, v, x, y, w
    quarter = (0, 1, 0, -1, 0, 0, 0, 0, 16384)
    data[matrix : matrix + 36] = b"".join(
        (number * 65536).to_bytes(4, "big", signed=True) for number in quarter
    )
    (tmp_path / "lying.mp4").write_bytes(data)
    _, upright, _ = read_all(Record(path, 0))
    with open_video(path, "pyav") as reader:
        assert torch.equal(upright, reader.read(range(4)))
    assert tuple(upright.shape) == (4, 64, 48, 3)


def test_damaged_frames_are_left_out_and_counted(damaged_video):
    video, frames, times = read_all(Record(damaged_video, 0))
    shown = numbers_shown(frames)
    assert shown[:49] == list(range(49))
    assert video.num_damaged > 0
    assert len(shown) + video.num_damaged <= 120
    assert times == sorted(times)


def test_pictures_of_a_folder_are_frames(tmp_path, caplog):
    for number, frame in enumerate(numbered_frames(5), start=1):
        Image.fromarray(frame.numpy()).save(tmp_path / f"{number:05d}.png")
    (tmp_path / "00003.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        video, frames, times = read_all(Record(f"{escape_braces(str(tmp_path))}/{{:05d}}.png", 0, 5, 1))
    assert (numbers_shown(frames), video.num_damaged) == ([0, 1, 3, 4], 1)
    assert times == pytest.approx([0, 1 / 30, 3 / 30, 4 / 30])
    assert "00003.png: is no picture" in caplog.text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("rtsp://camera/1", True),
        ("https://host/a.mp4", True),
        ("v4l2:/dev/video0", True),
        ("pipe:0", True),
        ("/dev/null", True),
        ("a.mp4", False),
        ("/nowhere/a:b.mp4", False),
        (__file__, False),
    ],
)
def test_streams_are_told_by_their_names_and_kinds(path, expected):
    assert is_stream(path) is expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Stream("v4l2:/dev/no-such-camera"), "No such file"),
        (Stream("rtsp://127.0.0.1:1/x"), "Connection refused"),
        (Stream("nothing://x"), "cannot be opened"),
        (Record("/nowhere/a.mp4", 0), "No such file"),
    ],
)
def test_what_cannot_be_opened_is_a_decode_error(source, reason):
    with pytest.raises(DecodeError, match=reason):
        open_stream(source)


class CountingCutter:
    """Makes a view of a frame's first pixel, and windows of what is kept, as text."""

    def shrink(self, pixels):
        return pixels[0, 0, 0].item()

    def window(self, kept):
        return [entry.views for entry in kept]


@pytest.mark.parametrize(
    ("num_video_frames", "num_frames", "stride", "windows"),
    [
        (6, 3, 1, [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]),
        (6, 3, 2, [[0, 1, 2], [2, 3, 4], [3, 4, 5]]),
        (7, 2, 3, [[0, 1], [3, 4], [5, 6]]),
        (3, 3, 5, [[0, 1, 2]]),
        (2, 3, 1, [[0, 1]]),
        (0, 3, 1, []),
    ],
)
def test_windows_of_a_few_frames(num_video_frames, num_frames, stride, windows):
    frames = [TimedFrame(n / 30, torch.full((1, 1, 3), n)) for n in range(num_video_frames)]
    assert list(slide(frames, CountingCutter(), num_frames=num_frames, stride=stride)) == windows


def test_no_more_than_two_whole_frames_are_in_memory_at_a_time():
    alive = []

    def frames():
        for number in range(200):
            pixels = torch.full((1, 1, 3), number)
            alive.append(weakref.ref(pixels))
            yield TimedFrame(number / 30, pixels)

    most = 0
    for _ in slide(frames(), CountingCutter(), num_frames=64, stride=1):
        most = max(most, sum(reference() is not None for reference in alive))
    assert most <= 2
    assert len(alive) == 200


def test_a_written_video_shows_the_frames_at_their_times(tmp_path):
    path = tmp_path / "out.mp4"
    with FrameWriter(path, fps=25) as writer:
        for number, frame in enumerate(numbered_frames(12)):
            writer.add(frame, number / 25 if number < 6 else number / 25 + 1)
    _, frames, times = read_all(Record(str(path), 0))
    assert numbers_shown(frames) == list(range(12))
    assert times == pytest.approx([n / 25 for n in range(6)] + [n / 25 + 1 for n in range(6, 12)], abs=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].time_base <= Fraction(1, 25)


def test_a_video_without_frames_leaves_nothing(tmp_path):
    with FrameWriter(tmp_path / "out.mp4", fps=25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_is_broken_off_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), FrameWriter(tmp_path / "out.mp4", fps=25) as writer:
        writer.add(numbered_frames(1)[0], 0.0)
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["nowhere/out.mp4", "out.docx"])
def test_a_video_that_cannot_be_written_says_so(tmp_path, name):
    with pytest.raises(UserError, match="cannot be written .* Name a file such as out.mp4"):
        FrameWriter(tmp_path / name, fps=25)
