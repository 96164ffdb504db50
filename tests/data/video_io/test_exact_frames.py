"""Decoding only what is needed gives the bytes that decoding everything gives."""

import av
import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.encode import write_video
from slowfast_mlp.data.video_io.packets import Packet, PacketRange, keyframe_positions, packet_ranges
from slowfast_mlp.data.video_io.video import open_video

NUM_FRAMES = 75
X264, X265 = "x264-params", "x265-params"
KINDS = {
    "no-b.mp4": dict(codec="libx264", g="12", bf="0"),
    "b.mp4": dict(codec="libx264", g="12", bf="3"),
    "pyramid.mp4": dict(codec="libx264", **{X264: "keyint=40:bframes=6:b-adapt=0:b-pyramid=normal"}),
    "one-gop.mkv": dict(codec="libx264", g="250", bf="2"),
    "fastdecode.mp4": dict(codec="libx264", g="12", tune="fastdecode"),
    "intra.mp4": dict(codec="libx264", g="1"),
    "open-gop.mkv": dict(codec="libx264", **{X264: "keyint=10:open-gop=1:bframes=3"}),
    "open-gop-pyramid.mp4": dict(
        codec="libx264", **{X264: "keyint=12:min-keyint=12:open-gop=1:bframes=5:b-adapt=0:b-pyramid=strict"}
    ),
    "intra-refresh.mp4": dict(codec="libx264", **{X264: "keyint=12:intra-refresh=1:bframes=0"}),
    "interlaced.mp4": dict(codec="libx264", flags="+ildct+ilme", g="12", bf="2"),
    "slices.mp4": dict(codec="libx264", **{X264: "keyint=12:slices=3:bframes=2"}),
    "stream.ts": dict(codec="libx264", g="12", bf="2"),
    "b.flv": dict(codec="libx264", g="12", bf="2"),
    "vp9.webm": dict(codec="libvpx-vp9", g="16", deadline="good", **{"cpu-used": "8", "auto-alt-ref": "1"}),
    "vp8.webm": dict(codec="libvpx", g="16", deadline="realtime", **{"cpu-used": "8"}),
    "mpeg4.avi": dict(codec="mpeg4", g="12", bf="2"),
    "mpeg4.mp4": dict(codec="mpeg4", g="12", bf="2"),
    "mpeg2.mkv": dict(codec="mpeg2video", g="12", bf="2"),
    "mpeg2-open.mpg": dict(codec="mpeg2video", g="12", bf="2"),
    "hevc.mp4": dict(codec="libx265", preset="ultrafast", **{X265: "keyint=12:bframes=3"}),
    "hevc-closed.mkv": dict(codec="libx265", preset="ultrafast", **{X265: "keyint=12:bframes=3:open-gop=0"}),
    "hevc-layers.mp4": dict(
        codec="libx265", preset="ultrafast", **{X265: "keyint=24:bframes=7:rc-lookahead=12:temporal-layers=3"}
    ),
}
REAL = (
    "arm_wrestling.mp4",
    "kinetics_clip.mp4",
    "flipping_pancake.mkv",
    "mpeg4_clip.avi",
    "nasa_13013.mp4",
    "h265_10bits.mp4",
)


def moving_noise(num_frames, height=68, width=98):
    """Frames [T, H, W, 3] of a texture that moves, with some noise: every frame differs from the last."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 20, 40, generator=generator)
    texture = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")[0]  # 3 160 320
    frames = [
        0.8 * texture[:, step // 2 : step // 2 + height, 2 * step : 2 * step + width]
        + 0.2 * torch.rand(3, height, width, generator=generator)
        for step in range(num_frames)
    ]
    return (torch.stack(frames) * 255).byte().permute(0, 2, 3, 1).contiguous()  # T H W 3


def decode_all(path):
    """All frames, as arrays [H, W, 3], the plain way."""
    with av.open(path) as container:
        stream = container.streams.best("video")
        stream.thread_count = 1
        frames = list(container.decode(stream))
        if container.format.name != "avi":  # whose times are made up
            frames.sort(key=lambda frame: frame.pts)
        return [frame.to_ndarray(format="rgb24") for frame in frames]


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    """Path and all frames of the video of a kind, made when first asked for."""
    folder, made = tmp_path_factory.mktemp("exact"), {}

    def decoded(name):
        if name not in made:
            options = dict(KINDS[name])
            codec = options.pop("codec")
            if codec not in av.codecs_available:
                pytest.skip(f"this FFmpeg has no {codec}")
            write_video(folder / name, moving_noise(NUM_FRAMES), fps=25, options=options, codec=codec)
            made[name] = str(folder / name), decode_all(str(folder / name))
        return made[name]

    return decoded


@pytest.mark.parametrize("name", KINDS)
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    starts=st.lists(st.integers(0, NUM_FRAMES - 1), min_size=1, max_size=3),
    stride=st.integers(1, 9),
    length=st.integers(1, 8),
)
def test_any_frames_are_those_of_a_full_decode(decoded, name, starts, stride, length):
    path, every = decoded(name)
    with open_video(path, "pyav") as video:
        assert video.num_frames == len(every)
        for start in starts:  # several reads of one reader
            indices = [min(start + stride * step, len(every) - 1) for step in range(length)]
            expected = numpy.stack([every[index] for index in indices])
            assert numpy.array_equal(video.read(indices).numpy(), expected)


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_by_itself_is_that_of_a_full_decode(decoded, name):
    path, every = decoded(name)
    with open_video(path, "pyav") as video:
        for index in range(len(every)):
            assert numpy.array_equal(video.read([index])[0].numpy(), every[index])


@pytest.mark.parametrize("name", REAL)
def test_clips_of_real_videos_are_those_of_a_full_decode(shared_folder, name):
    path = str(shared_folder / "videos" / name)
    every = decode_all(path)
    with open_video(path, "pyav") as video:
        assert video.num_frames == len(every)
        for start in range(0, len(every), max(1, len(every) // 5)):
            indices = [min(start + 4 * step, len(every) - 1) for step in range(16)]
            expected = numpy.stack([every[index] for index in indices])
            assert numpy.array_equal(video.read(indices).numpy(), expected)


def test_a_picture_in_which_the_decoder_guessed_pixels_is_refused_and_all_that_refer_to_it(tmp_path):
    path = tmp_path / "patched.mp4"
    write_video(path, moving_noise(36), fps=25, options={"g": "12", "bf": "0"})
    every = decode_all(str(path))
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][16]
    data = bytearray(path.read_bytes())
    middle = packet.pos + packet.size // 2
    data[middle : middle + 60] = bytes(range(60))  # the sizes and the start of the picture stay whole
    path.write_bytes(data)
    assert len(decode_all(str(path))) == 36  # FFmpeg says nothing of it but in its log
    with open_video(str(path), "pyav") as video:
        for index in (*range(16), *range(24, 36)):
            assert numpy.array_equal(video.read([index])[0].numpy(), every[index])
        for index in range(16, 24):
            with pytest.raises(DecodeError, match=r"patched.mp4: .*the decoder had to guess pixels"):
                video.read([index])


def packets(*times, keys):
    """Packets shown at `times`, in the order of decoding, with keyframes at the positions `keys`."""
    return [Packet(time, at, at in keys, False) for at, time in enumerate(times)]


@pytest.mark.parametrize(
    ("wanted", "runs"),
    [
        ([0], [PacketRange(0, 0)]),
        ([2], [PacketRange(0, 2)]),
        ([2, 4], [PacketRange(0, 2), PacketRange(4, 4)]),
        ([3, 4], [PacketRange(0, 4)]),  # they touch: one run
        ([7], [PacketRange(4, 7)]),
        ([1, 2, 6], [PacketRange(0, 2), PacketRange(4, 6)]),
    ],
)
def test_runs_start_at_the_keyframe_before_and_end_at_the_last_wanted(wanted, runs):
    closed = packets(0, 3, 1, 2, 4, 7, 5, 6, keys=(0, 4))
    assert packet_ranges(closed, keyframe_positions(closed), wanted) == runs


def test_what_is_shown_before_its_keyframe_is_decoded_from_the_keyframe_before():
    opened = packets(0, 3, 1, 2, 6, 4, 5, 9, 7, 8, keys=(0, 4))
    assert packet_ranges(opened, keyframe_positions(opened), [6]) == [PacketRange(0, 6)]
    assert packet_ranges(opened, keyframe_positions(opened), [4]) == [PacketRange(4, 4)]
    assert packet_ranges(opened, keyframe_positions(opened), [8]) == [PacketRange(4, 8)]


@given(
    num_groups=st.integers(1, 5),
    group=st.permutations(range(1, 8)),
    wanted=st.sets(st.integers(0, 39), min_size=1, max_size=8),
)
def test_runs_hold_every_wanted_packet_and_no_packet_twice(num_groups, group, wanted):
    times = [8 * start + time for start in range(num_groups) for time in (0, *group)]
    known = packets(*times, keys=range(0, len(times), 8))
    wanted = [position % len(times) for position in wanted]
    decoded = [
        at
        for run in packet_ranges(known, keyframe_positions(known), wanted)
        for at in range(run[0], run[1] + 1)
    ]
    assert set(wanted) <= set(decoded)
    assert decoded == sorted(set(decoded))
    assert {at - at % 8 for at in decoded} == {at - at % 8 for at in wanted}  # no group without a wanted one


def test_without_a_keyframe_before_decoding_starts_at_the_first_packet():
    assert packet_ranges(packets(0, 1, 2, keys=()), [], [1]) == [PacketRange(0, 1)]
    late = packets(0, 1, 2, 3, keys=(2,))
    assert packet_ranges(late, keyframe_positions(late), [1, 3]) == [PacketRange(0, 3)]


def test_a_keyframe_shown_before_an_earlier_one_is_not_started_from():
    assert keyframe_positions(packets(0, 10, 5, 20, keys=(0, 1, 2, 3))) == [0, 1, 3]
