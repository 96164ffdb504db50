"""Image weights to video weights."""

from collections.abc import Mapping

from torch import Tensor, nn


def inflate_conv(weight: Tensor, kernel_len: int) -> Tensor:
    """A 2-D kernel [O, I, H, W] as a 3-D one [O, I, kernel_len, H, W] with the same answer on a still clip.

    Repeated along time and divided by its length (Carreira and Zisserman 2017, section 2; PySlowFast's
    CHECKPOINT_INFLATE).
    """
    return weight.unsqueeze(2).repeat(1, 1, kernel_len, 1, 1) / kernel_len


def inflate_weights(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """`state` with a time axis in every kernel that has one in the model, as long as it is there."""
    own = model.state_dict()
    return {
        name: inflate_conv(value, own[name].shape[2])
        if name in own and own[name].ndim == value.ndim + 1 == 5
        else value
        for name, value in state.items()
    }
