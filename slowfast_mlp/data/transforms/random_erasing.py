"""Random erasing over time: one box of noise in all frames of a clip (Zhong et al., arXiv 1708.04896)."""

import math

import torch
from torch import Tensor

from slowfast_mlp.data.transforms.affine import Box

AREA = (0.02, 1 / 3)  # share of the frame; the values of timm and PySlowFast
ASPECT = (0.3, 1 / 0.3)  # height over width
TRIES = 100  # PySlowFast's value for clips; its value for images is 10


def sample_erasing_box(height: int, width: int, generator: torch.Generator) -> Box | None:
    """A box smaller than the frame, of random area and shape (uniform in log space), or None."""
    for _ in range(TRIES):
        share, shape, y, x = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        area = height * width * (AREA[0] + share * (AREA[1] - AREA[0]))
        aspect = math.exp(math.log(ASPECT[0]) + shape * (math.log(ASPECT[1]) - math.log(ASPECT[0])))
        box_height, box_width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_height < height and 0 < box_width < width:
            top, left = int(y * (height - box_height + 1)), int(x * (width - box_width + 1))
            return top, left, box_height, box_width
    return None


def write_noise(clip: Tensor, box: Box, seed: int) -> None:
    """Writes standard normal noise into the box of a normalized clip [3, T, H, W], in place.

    Every frame gets different noise. It is generated on the clip's device, so nothing but the seed is copied.
    """
    top, left, height, width = box
    # Apple's devices share memory with the CPU, and not every version of torch has generators for them.
    device = torch.device("cpu") if clip.device.type == "mps" else clip.device
    generator = torch.Generator(device).manual_seed(seed)
    noise = torch.randn(*clip.shape[:2], height, width, generator=generator, device=device)
    clip[:, :, top : top + height, left : left + width] = noise.to(clip.device)
