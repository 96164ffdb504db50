"""Pictures in pixels: frames with what was looked at, small maps side by side, a matrix of confusions.

Axes: T time, H W space, N maps. Letters are Pillow's own, which every machine has.
"""

import io
from collections.abc import Sequence

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from slowfast_mlp.apps.visualize.colormap import apply_colormap
from slowfast_mlp.apps.visualize.token_mixing import LayerMaps

Picture = Image.Image
INK, PAPER, FAINT = "#222222", "#FFFFFF", "#B0B0B0"
FRAME_SIDE = 128  # pixels of a frame on a strip, at least
MAX_FRAMES = 8  # on a strip; of more some are drawn, evenly chosen
MARGIN, LINE = 12, 22
MAX_QUANTILE = 0.995  # quantile of a saliency that is drawn in the brightest colour
PANEL_SIDES = ((1, 420), (3, 280), (8, 150), (1 << 30, 110))  # up to so many maps, the side of one
MIN_PANEL_HEIGHT, MIN_PANEL_STEP = 12, 110
SHEET_WIDTH, MIN_SHEET_WIDTH = 900, 460
MATRIX_SIDE = 800


def overlay(frames: Tensor, saliency: Tensor) -> Tensor:
    """Frames [T, H, W, 3] uint8, dimmed, under their saliency [T, H, W] in colours: the same shape."""
    sample = saliency.flatten()[:: max(1, saliency.numel() // 1_000_000)]  # what quantile can take
    highest = float(sample.quantile(MAX_QUANTILE)) or 1.0
    shares = (saliency / highest).clamp(0, 1)
    colors = apply_colormap(shares.flatten(0, 1), is_signed=False).reshape(frames.shape).float()
    grey = frames.float().mean(dim=-1, keepdim=True)
    strength = shares[..., None].sqrt()
    return (0.6 * grey * (1 - strength) + colors * strength).round().clamp(0, 255).to(torch.uint8)


def draw_strip(frames: Tensor, saliency: Tensor, lines: Sequence[str]) -> Picture:
    """The lines of text, then frames [T, H, W, 3] uint8 in a row, and below each its overlay with the share
    of the saliency [T, H, W] that falls on it.
    """
    T, height, width = frames.shape[:3]
    chosen = torch.linspace(0, T - 1, min(T, MAX_FRAMES)).round().long()
    factor = max(1.0, FRAME_SIDE / max(height, width))
    size = round(width * factor), round(height * factor)
    overlaid = overlay(frames, saliency)
    frame_shares = saliency.sum(dim=(1, 2)) / max(float(saliency.sum()), 1e-12)
    text_height = MARGIN + LINE * len(lines)
    columns = len(chosen)
    picture_width = max(MIN_SHEET_WIDTH, 2 * MARGIN + columns * (size[0] + 4) - 4)
    picture_height = text_height + 2 * size[1] + LINE + 2 * MARGIN
    picture = Image.new("RGB", (picture_width, picture_height), PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for number, line in enumerate(lines):
        text = _truncate(line, font, picture.width - 2 * MARGIN)
        pen.text((MARGIN, MARGIN + number * LINE), text, INK, font)
    for column, frame in enumerate(chosen.tolist()):
        left = MARGIN + column * (size[0] + 4)
        for row, source in enumerate((frames, overlaid)):
            pasted = Image.fromarray(source[frame].numpy()).resize(size, Image.Resampling.BILINEAR)
            picture.paste(pasted, (left, text_height + MARGIN // 2 + row * (size[1] + 4)))
        caption = f"frame {frame + 1}: {100 * float(frame_shares[frame]):.0f} %"
        below = text_height + MARGIN // 2 + 2 * size[1] + 8
        pen.text((left + size[0] / 2, below), caption, INK, ImageFont.load_default(13), anchor="mt")
    return picture


def draw_maps(maps: LayerMaps) -> Picture:
    """The maps of a layer side by side, in lines where they are many, each with its name, over one scale."""
    N, height, width = maps.values.shape
    lowest, highest = color_limits(maps)
    side = next(side for most, side in PANEL_SIDES if most >= N)
    factor = max(1, side // max(height, width))
    size = width * factor, max(height * factor, MIN_PANEL_HEIGHT)
    small, font = ImageFont.load_default(13), ImageFont.load_default(15)
    step = max(size[0], MIN_PANEL_STEP) + MARGIN, size[1] + LINE + 6
    per_line = max(1, min(N, (SHEET_WIDTH - MARGIN) // step[0]))
    sheet_width = min(SHEET_WIDTH, max(MIN_SHEET_WIDTH, per_line * step[0] + MARGIN))
    room = sheet_width - 2 * MARGIN
    caption_lines = _wrap(f"{maps.layer}: {maps.description}", font, room)
    axes = _wrap(f"down: {maps.rows}; across: {maps.columns}", small, room)
    top = MARGIN + LINE * (len(caption_lines) + len(axes))
    picture = Image.new("RGB", (sheet_width, top + -(-N // per_line) * step[1] + LINE + 2 * MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate([*caption_lines, *axes]):
        pen.text((MARGIN, MARGIN + number * LINE), line, INK, font if number < len(caption_lines) else small)
    for number, (name, one) in enumerate(zip(maps.names, maps.values)):
        left, above = MARGIN + number % per_line * step[0], top + number // per_line * step[1]
        shares = one / highest if maps.is_signed else (one - lowest) / max(highest - lowest, 1e-12)
        pasted = Image.fromarray(apply_colormap(shares, is_signed=maps.is_signed).numpy())
        picture.paste(pasted.resize(size, Image.Resampling.NEAREST), (left, above + 18))
        pen.text((left, above), _truncate(name, small, step[0]), INK, small)
    _scale_bar(picture, pen, maps, lowest, highest)
    return picture


def color_limits(maps: LayerMaps) -> tuple[float, float]:
    """The values at both ends of the colours: 0 in the middle of signed ones, else the lowest and highest."""
    finite = maps.values[maps.values.isfinite()]
    if not maps.is_signed:
        return float(finite.min()), float(finite.max())
    largest = float(finite.abs().max()) or 1.0
    return -largest, largest


def _scale_bar(
    picture: Picture, pen: ImageDraw.ImageDraw, maps: LayerMaps, lowest: float, highest: float
) -> None:
    """At the bottom: the colours with the values at their ends."""
    small, top = ImageFont.load_default(13), picture.height - LINE - MARGIN
    ramp = torch.linspace(-1 if maps.is_signed else 0, 1, 200).expand(14, -1)
    low, high = f"{lowest:.3g}", f"{highest:.3g}"
    left = MARGIN + round(small.getlength(low)) + 8
    pen.text((MARGIN, top), low, INK, small)
    picture.paste(Image.fromarray(apply_colormap(ramp, is_signed=maps.is_signed).numpy()), (left, top))
    pen.text((left + 208, top), high, INK, small)


def draw_matrix(matrix: Tensor, names: Sequence[str], title: str) -> Picture:
    """A matrix of counts [K, K] (rows: labels) in shares of its rows, coloured by their square roots, for a
    few videos of many are to be seen; the names where they can be read, else numbers every so often.
    """
    K = len(matrix)
    shares = matrix / matrix.sum(dim=1, keepdim=True).clamp(min=1)
    cell = max(1, MATRIX_SIDE // K)
    side, font = cell * K, ImageFont.load_default(15)
    small = ImageFont.load_default(min(13, max(9, cell - 2)))
    every = 1 if cell >= 11 else next(step for step in (5, 10, 20, 50, 100, 200, 500) if step * cell >= 14)
    shown = {k: (names[k] if every == 1 else str(k)) for k in range(0, K, every)}
    left = min(260, MARGIN + 8 + round(max(small.getlength(name) for name in shown.values())))
    top = MARGIN + 3 * LINE
    # Turned names stand on the columns as high as they are long, so they are cut like those of the rows.
    head = left - MARGIN
    picture = Image.new("RGB", (left + side + MARGIN, top + head + side + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN), _truncate(title, font, picture.width - 2 * MARGIN), INK, font)
    pen.text((MARGIN, MARGIN + LINE), "rows: label; columns: best class;", INK, ImageFont.load_default(13))
    pen.text(
        (MARGIN, MARGIN + 2 * LINE - 4),
        "black 0 %, purple 6 %, orange 56 %, yellow 100 % of a row",
        INK,
        ImageFont.load_default(13),
    )
    pasted = Image.fromarray(apply_colormap(shares.sqrt(), is_signed=False).numpy())
    picture.paste(pasted.resize((side, side), Image.Resampling.NEAREST), (left, top + head))
    for k, name in shown.items():
        middle = (k + 0.5) * cell
        text = _truncate(name, small, left - MARGIN - 6)
        pen.text((left - 5, top + head + middle), text, INK, small, anchor="rm")
        turned = Image.new("RGB", (head, round(small.size) + 4), PAPER)
        ImageDraw.Draw(turned).text((0, 0), text, INK, small)
        turned = turned.rotate(90, expand=True)
        picture.paste(turned, (round(left + middle - turned.width / 2), top))
    return picture


def encode_image(picture: Picture, kind: str) -> bytes:
    """The bytes of a file of the picture: `kind` png, or jpeg for photos."""
    data = io.BytesIO()
    quality = dict(quality=88) if kind == "jpeg" else dict(optimize=True)
    picture.save(data, format=kind, **quality)
    return data.getvalue()


def image_to_tensor(picture: Picture) -> Tensor:
    """[H, W, 3] uint8."""
    return torch.from_numpy(numpy.array(picture.convert("RGB")))


def _truncate(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, or as much of its beginning as fits, with dots behind."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The text in as many lines as it needs."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
