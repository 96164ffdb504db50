"""One way to read a video file, a folder of frames and a picture: the right frames, upright, in RGB."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from slowfast_mlp.data.records import Record, escape_braces
from slowfast_mlp.data.video_io import images
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.images import ImageError, decode_image, is_image
from slowfast_mlp.data.video_io.source import open_record
from tests.conftest import numbered_frames, numbers_shown

RED_LEFT = [[(255, 0, 0), (0, 0, 255)], [(255, 0, 0), (0, 0, 255)], [(255, 255, 255), (0, 0, 0)]]  # 3 x 2


def encoded(pixels, kind="PNG", **options):
    """A file of these pixels, rows of (red, green, blue)."""
    file = io.BytesIO()
    Image.fromarray(np.array(pixels, dtype=np.uint8)).save(file, kind, **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.fixture
def write_folder(tmp_path):
    """Writes numbered frames as pictures and returns the record of the folder."""

    def write(folder="7", num_frames=40, template="{:05d}.jpg", first_frame=1):
        place = tmp_path / folder
        place.mkdir()
        for number, frame in enumerate(numbered_frames(num_frames), start=first_frame):
            Image.fromarray(frame.numpy()).save(place / template.format(number))
        return Record(f"{escape_braces(str(place))}/{template}", 3, num_frames, first_frame)

    return write


@pytest.mark.parametrize(
    ("template", "first_frame"), [("{:05d}.jpg", 1), ("{:06d}.jpg", 1), ("img_{:05d}.png", 0), ("{}.webp", 1)]
)
def test_a_folder_gives_the_frames_of_these_numbers(write_folder, template, first_frame):
    record = write_folder(template=template, first_frame=first_frame)
    with open_record(record, "auto") as frames:
        assert (frames.num_frames, frames.fps) == (40, 30.0)
        read = frames.read([0, 39, 7, 7, 3])
    assert (read.shape, read.dtype) == ((5, 48, 144, 3), torch.uint8)
    assert numbers_shown(read) == [0, 39, 7, 7, 3]


def test_braces_in_the_name_of_a_folder_are_no_template(write_folder):
    with open_record(write_folder(folder="a{0}b"), "auto") as frames:
        assert numbers_shown(frames.read([4])) == [4]


def test_a_frame_that_is_asked_for_twice_is_read_once(write_folder, tmp_path):
    record = write_folder(num_frames=3)
    with open_record(record, "auto") as frames:
        (tmp_path / "7" / "00003.jpg").unlink()
        assert numbers_shown(frames.read([1, 0, 1, 1])) == [1, 0, 1, 1]  # frame 2 is gone, and not missed


def test_a_missing_or_damaged_frame_is_named(write_folder, tmp_path):
    record = write_folder()
    (tmp_path / "7" / "00005.jpg").unlink()
    whole = (tmp_path / "7" / "00007.jpg").read_bytes()
    (tmp_path / "7" / "00007.jpg").write_bytes(whole[:-60])
    (tmp_path / "7" / "00009.jpg").write_bytes(b"")
    with open_record(record, "auto") as frames:
        with pytest.raises(DecodeError, match=rf"frame 4, the file {tmp_path}/7/00005.jpg: No such file"):
            frames.read([0, 4])
        with pytest.raises(DecodeError, match=r"frame 6, the file .*00007.jpg: is damaged \(.*truncated"):
            frames.read([6])
        with pytest.raises(DecodeError, match=r"frame 8, the file .*00009.jpg: is no picture"):
            frames.read([8])
        with pytest.raises(DecodeError, match="has 40 frames; asked for 0 to 40"):
            frames.read([0, 40])


def test_frames_of_several_sizes_are_refused(write_folder, tmp_path):
    record = write_folder(num_frames=3)
    Image.new("RGB", (8, 8)).save(tmp_path / "7" / "00002.jpg")
    with open_record(record, "auto") as frames, pytest.raises(DecodeError, match="change their size"):
        frames.read([0, 1])


def test_a_line_of_pixels_is_refused_before_it_grows_with_its_short_side(tmp_path):
    for width, height in ((30_000, 1), (1, 101)):
        Image.new("RGB", (width, height)).save(tmp_path / "line.png")
        refused = pytest.raises(DecodeError, match=f"is {width}x{height}: a side more than 100 times the")
        with open_record(Record(str(tmp_path / "line.png"), 0), "auto") as picture, refused:
            picture.read([0])
    Image.new("RGB", (100, 1)).save(tmp_path / "line.png")
    with open_record(Record(str(tmp_path / "line.png"), 0), "auto") as picture:
        assert picture.read([0]).shape == (1, 1, 100, 3)


@pytest.mark.parametrize("name", ["a.png", "b.PNG", "c{1}.bmp", "d.webp"])
def test_a_picture_is_a_video_of_one_frame(tmp_path, name):
    options = {"kind": "WEBP", "lossless": True} if name == "d.webp" else {"kind": name[-3:].upper()}
    (tmp_path / name).write_bytes(encoded(RED_LEFT, **options))
    with open_record(Record(str(tmp_path / name), 0), "auto") as picture:
        assert picture.num_frames == 1
        assert picture.read([0, 0]).tolist() == [np.array(RED_LEFT).tolist()] * 2


def test_bgr_turns_the_channels_of_every_kind_of_record(tmp_path, write_folder, write_numbered):
    (tmp_path / "a.png").write_bytes(encoded(RED_LEFT))
    video = write_numbered("a.mp4", 12)
    for record in (Record(str(tmp_path / "a.png"), 0), write_folder(num_frames=2), Record(video, 0)):
        with open_record(record, "auto") as one, open_record(record, "auto", channel_order="BGR") as other:
            assert (one.num_frames, one.fps) == (other.num_frames, other.fps)
            assert torch.equal(one.read([0]).flip(-1), other.read([0]))
    with open_record(Record(str(tmp_path / "a.png"), 0), "auto", channel_order="BGR") as picture:
        assert picture.read([0])[0, 0].tolist() == [[0, 0, 255], [255, 0, 0]]


@pytest.mark.parametrize(
    ("orientation", "top_left", "size"),
    [
        (1, (255, 0, 0), (3, 2)),
        (2, (0, 0, 255), (3, 2)),
        (3, (0, 0, 0), (3, 2)),
        (4, (255, 255, 255), (3, 2)),
        (5, (255, 0, 0), (2, 3)),
        (6, (255, 255, 255), (2, 3)),
        (7, (0, 0, 0), (2, 3)),
        (8, (0, 0, 255), (2, 3)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_pictures_are_turned_upright_as_browsers_do(kind, orientation, top_left, size):
    options = {"lossless": True} if kind == "WEBP" else {}
    frame = decode_image(encoded(RED_LEFT, kind, exif=turned(orientation), **options))
    assert (tuple(frame[0, 0].tolist()), tuple(frame.shape[:2])) == (top_left, size)


def test_a_jpeg_is_turned_too():
    wide = np.zeros((16, 32, 3), dtype=np.uint8)
    wide[:, :16] = 255  # its left half
    frame = decode_image(encoded(wide, "JPEG", exif=turned(6)))
    assert frame.shape == (32, 16, 3)
    assert frame[4, 8].tolist() == [255, 255, 255] and frame[28, 8].tolist() == [0, 0, 0]  # the upper half


def test_grey_palette_alpha_and_cmyk_become_rgb():
    red = Image.new("RGB", (4, 4), (254, 0, 0))
    for mode, kind in (("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG")):
        file = io.BytesIO()
        red.convert(mode).save(file, kind)
        frame = decode_image(file.getvalue())
        assert frame.shape == (4, 4, 3)
        assert (frame.int() - torch.tensor([254, 0, 0])).abs().max() <= 3
    assert decode_image(encoded([[7, 8], [9, 10]])).tolist() == [[[7] * 3, [8] * 3], [[9] * 3, [10] * 3]]


def test_sixteen_bits_become_eight():
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 255], [256, 65535]], dtype=np.uint16)).save(file, "PNG")
    assert decode_image(file.getvalue())[..., 0].tolist() == [[0, 0], [1, 255]]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("options", [{"quality": 30}, {"quality": 95}, {"progressive": True}])
@pytest.mark.parametrize("size", [(48, 64), (37, 51)])
def test_jpegs_have_the_pixels_that_pillow_gives(size, options, subsampling, monkeypatch):
    pixels = torch.randint(0, 256, (*size, 3), generator=torch.Generator().manual_seed(0))
    data = encoded(pixels, "JPEG", subsampling=subsampling, **options)
    with Image.open(io.BytesIO(data)) as picture:
        expected = np.array(picture.convert("RGB"))
    frame = decode_image(data)
    assert frame.is_contiguous()
    assert np.array_equal(frame.numpy(), expected)
    monkeypatch.setattr(images, "decode_jpeg", None)  # as a later torchvision will be
    assert torch.equal(decode_image(data), frame)


def test_a_jpeg_cut_off_anywhere_is_refused():
    pixels = torch.randint(0, 256, (64, 64, 3), generator=torch.Generator().manual_seed(0))
    whole = encoded(pixels, "JPEG")
    for length in range(0, len(whole) - 2, 97):
        with pytest.raises(ImageError):
            decode_image(whole[:length])


def test_jpegs_are_as_narrow_as_pillows_at_most():
    with pytest.raises(ImageError, match="800x2: a side more than 100 times the other"):
        decode_image(encoded(np.zeros((2, 800, 3)), "JPEG"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_damaged_bytes_are_a_picture_error_or_pixels_and_nothing_else(kind):
    whole = encoded(torch.randint(0, 256, (24, 24, 3), generator=torch.Generator().manual_seed(0)), kind)
    generator = torch.Generator().manual_seed(1)
    num_refused = 0
    for _ in range(300):
        data = bytearray(whole)
        place = int(torch.randint(len(data), (), generator=generator))
        if torch.rand((), generator=generator) < 0.5:
            data = data[:place]
        else:
            data[place] ^= 1 << int(torch.randint(8, (), generator=generator))
        try:
            assert decode_image(bytes(data)).shape[-1] == 3
        except ImageError:
            num_refused += 1
    assert num_refused > 50  # those that are cut off, at least


def test_what_is_a_picture_is_told_by_the_name():
    assert all(map(is_image, ["a.jpg", "a.JPEG", "b/c.png", "d.webp", "e.bmp"]))
    assert not any(map(is_image, ["a.mp4", "jpg", "a.jpg.mp4"]))
