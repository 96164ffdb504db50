"""Pictures in pixels: the right colours in the right places."""

import io

import torch
from PIL import Image

from slowfast_mlp.apps.visualize.colormap import apply_colormap
from slowfast_mlp.apps.visualize.pictures import (
    color_limits,
    draw_maps,
    draw_matrix,
    draw_strip,
    encode_image,
    image_to_tensor,
)
from slowfast_mlp.apps.visualize.token_mixing import LayerMaps

BLACK, YELLOW, GREY = [0, 0, 4], [252, 255, 164], [128, 128, 128]


def maps(values, *, is_signed):
    return LayerMaps(
        layer="blocks1.0.fc",
        description="what it does",
        values=values,
        names=tuple(f"group {n}" for n in range(len(values))),
        rows="height",
        columns="width",
        is_signed=is_signed,
    )


def colours_in(picture):
    return {tuple(pixel) for pixel in image_to_tensor(picture).reshape(-1, 3).tolist()}


def test_colours_rise_from_black_to_yellow_and_what_is_not_known_is_grey():
    drawn = apply_colormap(torch.tensor([[0.0, 1.0, torch.nan]]), is_signed=False)
    assert drawn.tolist() == [[BLACK, YELLOW, GREY]]


def test_signed_colours_have_zero_in_a_pale_middle():
    drawn = apply_colormap(torch.tensor([[-1.0, 0.0, 1.0]]), is_signed=True)
    assert drawn.tolist() == [[[0, 60, 120], [245, 245, 245], [140, 50, 0]]]


def test_a_scale_spans_the_values_and_is_even_around_zero_where_they_are_signed():
    values = torch.tensor([[[1.0, 3.0], [torch.nan, 2.0]]])
    assert color_limits(maps(values, is_signed=False)) == (1.0, 3.0)
    assert color_limits(maps(-values, is_signed=True)) == (-3.0, 3.0)


def test_every_map_of_a_layer_is_drawn_in_the_colours_of_its_values():
    values = torch.zeros(20, 3, 3)
    values[7, 1, 1] = 4.0
    drawn = draw_maps(maps(values, is_signed=False))
    assert drawn.width <= 900
    assert {tuple(BLACK), tuple(YELLOW)} <= colours_in(drawn)
    assert tuple(YELLOW) not in colours_in(drawn.crop((0, 0, drawn.width, 60)))  # the words above


def test_a_matrix_is_coloured_by_shares_of_its_rows():
    drawn = draw_matrix(torch.tensor([[4, 0], [0, 9]]), ["left", "right"], "Confusion")
    side = 800
    corner = drawn.width - side - 12, drawn.height - side - 12
    cells = [drawn.getpixel((corner[0] + x, corner[1] + y)) for y in (200, 600) for x in (200, 600)]
    assert cells == [tuple(YELLOW), tuple(BLACK), tuple(BLACK), tuple(YELLOW)]


def test_a_matrix_of_400_classes_has_two_pixels_a_class_and_numbers():
    drawn = draw_matrix(torch.eye(400, dtype=torch.int64), [f"class {n}" for n in range(400)], "Confusion")
    assert 800 < drawn.width < 900 and 800 < drawn.height < 950


def test_a_strip_shows_eight_frames_at_most_evenly_chosen():
    frames = torch.arange(15, dtype=torch.uint8).mul(17).reshape(15, 1, 1, 1).expand(15, 128, 128, 3)
    drawn = image_to_tensor(draw_strip(frames.contiguous(), torch.zeros(15, 128, 128), ["one line"]))
    row = drawn[60, 12 + 64 :: 132][:8, 0].tolist()
    assert row == [0, 34, 68, 102, 136, 170, 204, 238]


def test_a_single_frame_leaves_room_for_the_words():
    drawn = draw_strip(torch.zeros(1, 128, 128, 3, dtype=torch.uint8), torch.zeros(1, 128, 128), ["goldfish"])
    assert drawn.width == 460


def test_pictures_are_encoded_as_files():
    picture = Image.new("RGB", (4, 3), "white")
    for kind in ("png", "jpeg"):
        with Image.open(io.BytesIO(encode_image(picture, kind))) as read:
            assert (read.format, read.size) == (kind.upper(), (4, 3))
