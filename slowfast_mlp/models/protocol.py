"""What the framework needs of a backbone. A file in this folder defines one, with MODEL and VARIANTS.

Axes: B batch, C channels, T time, H W space, K classes. The constructor takes `num_classes`, `num_frames`,
`crop_size` and the arguments of MODEL.ARGS as keywords. It raises ValueError that names the setting and the
legal values. `num_frames=1` makes the image model, where there is one.
"""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from slowfast_mlp.layers.clip_size import ClipSizes


@runtime_checkable
class Backbone(Protocol):
    """A video or image model, as builders, engine and apps use it. It is an nn.Module too.

    Its file may define functions for weights: `from_official(state)` renames the authors' entries,
    `from_image_weights(state, model)` inflates image weights (NOT_IN_IMAGE_WEIGHTS has the names that they
    lack), `fit_weights(state, model)` resamples tables, and HEAD names the head if it is not `head`.
    """

    num_classes: int
    num_frames: int
    crop_size: int
    clip_sizes: ClipSizes

    def stages(self) -> Iterable[tuple[nn.Module, Iterable[nn.Module]]]:
        """The embedding and the blocks of every stage, in the order of the data."""

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes the activations of blocks for the gradient instead of storing them, or not."""

    def forward_features(self, x: Tensor) -> Tensor:
        """Normalized clips [B, 3, T, H, W] -> the input of the head [B, C]."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalized clips [B, 3, T, H, W] -> logits [B, K]."""
