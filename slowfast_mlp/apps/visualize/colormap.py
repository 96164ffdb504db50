"""Numbers as colours that people who do not see all colours can tell apart.

Axes: H W space.
"""

import torch
from torch import Tensor

# Anchors of matplotlib's inferno: brightness grows evenly from black to yellow.
SEQUENTIAL = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
# Blue, white, vermilion (Okabe and Ito's two): the ends differ for every kind of colour vision.
DIVERGING = ((0, 60, 120), (86, 160, 211), (245, 245, 245), (232, 130, 60), (140, 50, 0))
NAN_COLOR = (128, 128, 128)


def apply_colormap(shares: Tensor, *, is_signed: bool) -> Tensor:
    """Numbers [H, W] from 0 (or -1 where they are signed) to 1 -> [H, W, 3] uint8; NaN is grey."""
    anchors = torch.tensor(DIVERGING if is_signed else SEQUENTIAL, dtype=torch.float32)
    places = (shares.float() + 1) / 2 if is_signed else shares.float()
    places = places.nan_to_num(0).clamp(0, 1) * (len(anchors) - 1)
    low = places.floor().long().clamp(max=len(anchors) - 2)
    part = (places - low)[..., None]
    colors = anchors[low] * (1 - part) + anchors[low + 1] * part
    colors[shares.isnan()] = torch.tensor(NAN_COLOR, dtype=torch.float32)
    return colors.round().to(torch.uint8)
