"""Names and probabilities drawn on a frame."""

from collections.abc import Sequence

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from slowfast_mlp.apps.predict.predictor import Ranked

# Smaller frames are enlarged by a whole number: letters of a few pixels cannot be read.
MIN_HEIGHT = 240
LINES_PER_FRAME = 20  # lines of text that a frame is high
PANEL, BAR, INK = (0, 0, 0, 150), (0, 114, 178, 220), (255, 255, 255, 255)


def draw_caption(pixels: Tensor, rows: Sequence[Ranked]) -> Tensor:
    """A frame [H, W, 3] uint8 -> the same, enlarged where it is small, with a line and a bar for each row."""
    factor = -(-MIN_HEIGHT // pixels.shape[0])
    picture = Image.fromarray(pixels.numpy())
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BILINEAR)
    if not rows:
        return torch.from_numpy(numpy.array(picture))
    size = max(12, picture.height // LINES_PER_FRAME)
    font = ImageFont.load_default(size)
    margin, line = size // 2, round(1.35 * size)
    numbers = [f"{100 * row.probability:.0f} %" for row in rows]
    number_width = max(map(font.getlength, numbers))
    max_name_width = picture.width - 4 * margin - size - number_width
    names = [truncate_text(row.name, font, max_name_width) for row in rows]
    width = round(max(map(font.getlength, names)) + number_width + size + 2 * margin)
    panel = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(panel)
    pen.rectangle((margin, margin, margin + width, 2 * margin + line * len(rows)), fill=PANEL)
    for place, (row, name, number) in enumerate(zip(rows, names, numbers)):
        top = round(1.5 * margin) + place * line
        length = round((width - margin) * min(1.0, max(0.0, row.probability)))
        left = round(1.5 * margin)
        pen.rectangle((left, top, left + length, top + line - 2), fill=BAR)
        middle = top + line / 2 - 1
        pen.text((2 * margin, middle), name, INK, font, anchor="lm")
        pen.text((width, middle), number, INK, font, anchor="rm")
    drawn = Image.alpha_composite(picture.convert("RGBA"), panel).convert("RGB")
    return torch.from_numpy(numpy.array(drawn))


def truncate_text(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, or as much of its beginning as fits into `width` pixels, with dots behind."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text.rstrip()}..."
