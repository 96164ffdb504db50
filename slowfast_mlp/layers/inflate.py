"""Image weights to video weights."""

from torch import Tensor


def inflate_conv(weight: Tensor, kernel_len: int) -> Tensor:
    """A 2-D kernel [O, I, H, W] as a 3-D one [O, I, kernel_len, H, W] with the same answer on a still clip.

    Repeated along time and divided by its length (Carreira and Zisserman 2017, section 2; PySlowFast's
    CHECKPOINT_INFLATE).
    """
    return weight.unsqueeze(2).repeat(1, 1, kernel_len, 1, 1) / kernel_len
