"""From views of uint8 to the model's input: the last steps of the way, on the device."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from slowfast_mlp.data.dataset import Views
from slowfast_mlp.data.transforms.augment import Plan
from slowfast_mlp.data.transforms.random_erasing import erase


class ToInput:
    """Sends views to the device and makes normalised clips of them there, with the erasures of their plans.

    With `augment` (AUG.MODE device), views that hold frames as decoded are augmented there too.
    """

    def __init__(
        self,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device,
        augment: Callable[[Tensor, Plan], Tensor] | None = None,
    ):
        self._device = device
        self._augment = augment
        # On the device for good: sending them with every batch would make the host wait for it.
        self._scale, self._shift = (part.to(device) for part in scale_and_shift(mean, std))

    def __call__(self, views: Views) -> Tensor:
        """Views -> [N, 3, T, S, S] float32: of 0 to 1, less `mean`, over `std` (per channel)."""
        clips = views.clips.to(self._device, non_blocking=True)
        if views.sizes:
            clips = self._augmented(clips, views)
        inputs = torch.empty(clips.shape, device=self._device)
        torch.addcmul(self._shift, clips, self._scale, out=inputs)  # reads uint8, writes float32: one pass
        for clip, plan in zip(inputs, views.plans):
            if plan.erasure:
                erase(clip, plan.erasure, plan.noise_seed)
        return inputs

    def _augmented(self, clips: Tensor, views: Views) -> Tensor:
        """Frames one after the other [bytes] -> [N, 3, T, S, S] uint8."""
        num_samples = len(views.plans) // len(views.sizes)
        frames_of_view = (frames for frames in split_frames(clips, views.sizes) for _ in range(num_samples))
        augmented = [self._augment(frames, plan) for frames, plan in zip(frames_of_view, views.plans)]
        return torch.stack(augmented).permute(0, 4, 1, 2, 3)


def scale_and_shift(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """What makes a model's clips of pixels of 0 to 255 by a product and a sum: (pixels / 255 - mean) / std is
    pixels · scale + shift. Both are [1, 3, 1, 1, 1], as B C T H W.
    """
    shape = (1, 3, 1, 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std]).reshape(shape)
    return scale, torch.tensor([-m / s for m, s in zip(mean, std)]).reshape(shape)


def split_frames(clips: Tensor, sizes: tuple[tuple[int, ...], ...]) -> Iterator[Tensor]:
    """The frames [T, H, W, 3] of every video from their bytes in a row."""
    start = 0
    for T, height, width in sizes:
        length = T * height * width * 3
        yield clips[start : start + length].reshape(T, height, width, 3)
        start += length
