"""Frame i is frame i: for each decoder, container and codec; and what cannot be read says why."""

import struct
from pathlib import Path

import av
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.encode import write_video
from slowfast_mlp.data.video_io.video import open_video, probe
from tests.conftest import numbered_frames, numbers_shown

DECODERS = ("pyav", "decord")
KINDS = {
    "b-frames.mp4": dict(codec="libx264", g="12", bf="3"),
    "one-gop.mp4": dict(codec="libx264", g="250"),
    "intra.mkv": dict(codec="libx264", g="1"),
    "open-gop.mkv": dict(codec="libx264", **{"x264-params": "keyint=10:open-gop=1:bframes=3"}),
    "open-gop-2.mp4": dict(codec="libx264", **{"x264-params": "keyint=5:open-gop=1:bframes=2:b-adapt=0"}),
    "vp9.webm": dict(codec="libvpx-vp9", g="16", **{"deadline": "realtime", "cpu-used": "8"}),
    "mpeg4.avi": dict(codec="mpeg4", g="12", bf="2", q="3"),
    "mpeg4.mp4": dict(codec="mpeg4", g="15", q="3"),
}


@pytest.fixture(scope="module")
def videos(write_numbered):
    return {name: write_numbered(name, 60, **options) for name, options in KINDS.items()}


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", KINDS)
def test_probing_tells_the_true_number_of_frames(videos, name, decoder):
    assert probe(videos[name], decoder) == (60, pytest.approx(30))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "indices",
    [[0], [59], [30], [0, 4, 8, 12, 16], [57, 58, 59], [11, 12, 13, 35, 36], [40, 3, 3, 59, 0]],
    ids=str,
)
def test_frame_i_is_frame_i(videos, name, decoder, indices):
    with open_video(videos[name], decoder) as video:
        frames = video.read(indices)
    assert frames.dtype == torch.uint8 and frames.shape == (len(indices), 48, 144, 3)
    assert numbers_shown(frames) == indices


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reads=st.lists(st.lists(st.integers(0, 59), min_size=1, max_size=6), min_size=1, max_size=4))
def test_one_reader_answers_several_reads_in_any_order(videos, reads):
    for name in ("b-frames.mp4", "open-gop.mkv"):
        with open_video(videos[name], "pyav") as video:
            for indices in reads:
                assert numbers_shown(video.read(indices)) == indices


@pytest.mark.parametrize("name", KINDS)
def test_both_decoders_give_the_same_pixels(videos, name):
    indices = [0, 7, 29, 30, 59]
    frames = []
    for decoder in DECODERS:
        with open_video(videos[name], decoder) as video:
            frames.append(video.read(indices))
    assert torch.equal(*frames)


@pytest.mark.parametrize(
    ("degrees", "matrix"), [(90, (0, 1, -1, 0)), (270, (0, -1, 1, 0)), (180, (-1, 0, 0, -1))]
)
def test_lying_video_with_an_angle_beside_it_is_turned_upright(tmp_path, degrees, matrix):
    """The angle stands in the track header of an mp4, as a matrix of 16.16 fixed-point numbers."""
    path = tmp_path / "turned.mp4"
    upright = numbered_frames(10).repeat(1, 2, 1, 1)  # high enough for decord when it lies
    write_video(path, upright, fps=30, options={"g": "5"})
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd") + 4 + 40
    for position, value in zip((0, 4, 12, 16), matrix):
        data[header + position : header + position + 4] = struct.pack(">i", value << 16)
    path.write_bytes(data)
    frames = {}
    for decoder in DECODERS:
        with open_video(str(path), decoder) as video:
            frames[decoder] = video.read([3])
    assert frames["pyav"].shape == ((1, 96, 144, 3) if degrees == 180 else (1, 144, 96, 3))
    assert torch.equal(frames["pyav"], frames["decord"])


def test_decord_refuses_containers_that_it_misreads(write_numbered):
    path = write_numbered("stream.ts", 30)
    with open_video(path, "pyav") as video:
        assert numbers_shown(video.read([0, 29])) == [0, 29]
    with pytest.raises(DecodeError, match=r"stream.ts: decord is exact for .*; use DATA.DECODER pyav"):
        open_video(path, "decord")


def test_the_video_stream_is_found_behind_sound(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        picture = container.add_stream("libx264", rate=30, options={"g": "5"})
        picture.width, picture.height, picture.pix_fmt = 144, 48, "yuv420p"
        for frame in numbered_frames(12):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24")))
        container.mux(picture.encode(None))
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.sample_rate = 16000
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    for decoder in DECODERS:
        with open_video(str(path), decoder) as video:
            assert numbers_shown(video.read([0, 6, 11])) == [0, 6, 11]


def test_a_damaged_video_gives_its_whole_part_and_refuses_the_rest(damaged_video):
    with open_video(damaged_video, "pyav") as video:
        assert video.num_frames == 120
        assert numbers_shown(video.read([0, 5, 10])) == [0, 5, 10]
        with pytest.raises(DecodeError, match="damaged.mp4"):
            video.read(range(60, 120))
        assert numbers_shown(video.read([0, 5, 10])) == [0, 5, 10]


def test_decord_refuses_a_damaged_video(damaged_video):
    """All of it: decord decodes ahead, and dies where the damage is."""
    with pytest.raises(DecodeError, match="damaged.mp4"), open_video(damaged_video, "decord") as video:
        video.read(range(60, 120))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("kind", ["missing", "empty", "text", "header only"])
def test_what_is_no_video_is_refused_with_its_path(tmp_path, write_numbered, kind, decoder):
    path = tmp_path / "not_a_video.mp4"
    contents = {"empty": b"", "text": b"hello" * 100}
    if kind == "header only":
        contents[kind] = Path(write_numbered("whole.mp4")).read_bytes()[:300]
    if kind != "missing":
        path.write_bytes(contents[kind])
    with pytest.raises(DecodeError, match="not_a_video.mp4"), open_video(str(path), decoder):
        pass


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("indices", [[-1], [60], [0, 60]])
def test_numbers_outside_the_video_are_refused(videos, decoder, indices):
    with (
        open_video(videos["b-frames.mp4"], decoder) as video,
        pytest.raises(DecodeError, match="has 60 frames"),
    ):
        video.read(indices)


def test_frames_of_even_and_odd_sizes_keep_their_rows(tmp_path):
    frames = torch.arange(50, dtype=torch.uint8).reshape(1, 50, 1, 1).expand(3, 50, 38, 3).contiguous() * 5
    write_video(tmp_path / "size.mp4", frames, fps=10, options={"crf": "1"})
    with open_video(str(tmp_path / "size.mp4"), "pyav") as video:
        read = video.read([1])
    assert read.shape == (1, 50, 38, 3)
    assert (read[0].float() - frames[0].float()).abs().mean() < 3


@pytest.mark.parametrize(
    "name", ["arm_wrestling.mp4", "kinetics_clip.mp4", "flipping_pancake.mkv", "mpeg4_clip.avi"]
)
def test_real_clips_read_as_a_full_decode_by_both_decoders(shared_folder, name):
    path = str(shared_folder / "videos" / name)
    with av.open(path) as container:
        every = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    indices = [0, 1, len(every) // 3, len(every) // 2, len(every) - 2, len(every) - 1]
    for decoder in DECODERS:
        with open_video(path, decoder) as video:
            assert video.num_frames == len(every)
            for frame, index in zip(video.read(indices), indices):
                assert torch.equal(frame, torch.from_numpy(every[index]))


def test_the_real_damaged_clip_is_refused_where_it_breaks(shared_folder):
    path = str(shared_folder / "videos" / "corrupted.mp4")
    with open_video(path, "pyav") as video:
        assert video.read([0, 10]).shape == (2, 720, 1280, 3)
        with pytest.raises(DecodeError, match="corrupted.mp4"):
            video.read([45])
