"""From a batch on the device to the model's input: augments raw frames, normalizes, erases random boxes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from slowfast_mlp.data.batch import Batch, RawFrames
from slowfast_mlp.data.transforms.augment import augment_exact, erase


class DeviceTransform:
    """Makes clips [N, 3, T, S, S] float32 of a batch on `device`: (pixels / 255 - mean) / std per channel."""

    def __init__(self, *, mean: Sequence[float], std: Sequence[float], device: torch.device):
        # Kept on the device: copying them with every batch would make the host wait.
        self._scale, self._shift = (part.to(device) for part in scale_and_shift(mean, std))

    def __call__(self, batch: Batch) -> Tensor:
        """Batch of N views -> [N, 3, T, S, S] float32."""
        clips = augment_frames(batch) if isinstance(batch, RawFrames) else batch.clips
        inputs = torch.empty(clips.shape, device=clips.device)
        torch.addcmul(self._shift, clips, self._scale, out=inputs)  # reads uint8, writes float32: one pass
        erase(inputs, batch.params)
        return inputs


def augment_frames(batch: RawFrames) -> Tensor:
    """The views [N, 3, T, S, S] uint8 of raw frames, augmented where the frames are (AUG.MODE device)."""
    num_samples = len(batch.params) // len(batch.sizes)
    frames_of_views = (frames for frames in batch.split() for _ in range(num_samples))
    views = [augment_exact(frames, params) for frames, params in zip(frames_of_views, batch.params)]
    return torch.stack(views).permute(0, 4, 1, 2, 3)


def scale_and_shift(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Scale and shift, both [1, 3, 1, 1, 1] (B C T H W), with which pixels · scale + shift equals
    (pixels / 255 - mean) / std.
    """
    shape = (1, 3, 1, 1, 1)
    scale = torch.tensor([1 / (255 * s) for s in std]).reshape(shape)
    return scale, torch.tensor([-m / s for m, s in zip(mean, std)]).reshape(shape)
