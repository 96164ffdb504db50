"""Where a model looks: how much its answer depends on every place of a clip, by gradients.

Axes: C channels, T time, H W space, T' H' W' those of a stage's map.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mlp.apps.visualize.token_mixing import LayerMaps

# Points of the path from the baseline to the clip at which gradients are taken.
NUM_POINTS = 8
BLUR_DIVISOR = 24  # standard deviation of the blur: a side over this
# What a clip is compared with. grey: its mean colour, so that all that is seen counts; still: its mean over
# time, so that only what moves or changes does.
BASELINES = {"grey": (1, 2, 3), "still": (1,)}


def saliency(
    model: nn.Module, clip: Tensor, label: int, *, baseline: str = "grey", num_points: int = NUM_POINTS
) -> Tensor:
    """How much the logit of `label` (less the mean of all) depends on every pixel of a normalised clip
    [3, T, H, W]: [T, H, W] float32 on the CPU, from 0 up, of sum 1; all zero where it depends on nothing.

    Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365): what the pixel adds to the logit on the
    straight path from the baseline (a key of BASELINES), summed over channels; here its magnitude, blurred in
    space. A plain gradient lies next to what moves rather than on it.
    """
    return _normalize(
        _blur(integrated_gradients(model, clip, label, baseline=baseline, num_points=num_points).abs())
    )


def integrated_gradients(
    model: nn.Module, clip: Tensor, label: int, *, baseline: str, num_points: int
) -> Tensor:
    """Integrated gradients [T, H, W] float32 on the CPU: their sum is the difference of the answers to the
    clip [3, T, H, W] and to the baseline, as exactly as `num_points` points integrate.
    """
    start = clip.mean(dim=BASELINES[baseline], keepdim=True)
    total = torch.zeros_like(clip, dtype=torch.float32)
    model.eval()
    for point in range(num_points):
        part = (point + 0.5) / num_points  # the middle of its stretch
        interpolated = (start + part * (clip - start)).detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(_centered_logit(model(interpolated[None]), label), interpolated)
        total += gradient
    return ((clip - start) * total / num_points).sum(dim=0).float().cpu()


def stage_saliency(model: nn.Module, clip: Tensor, label: int) -> list[LayerMaps]:
    """How much the answer depends on every place of the maps that the stages of a model give, time by time:
    from 0 up, with the sum 1 in a stage; the clip is [3, T, H, W], normalised.

    Activation times gradient, summed over channels, its magnitude. Only stages whose blocks give
    [B, T', H', W', C] are known, or what the model's own `stage_maps` makes such of.
    """
    outputs: list[Tensor] = []

    def save_output(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 5:
            outputs.append(output)

    as_maps = getattr(model, "stage_maps", lambda output, stage: output)

    model.eval()
    handles = [blocks[-1].register_forward_hook(save_output) for _, blocks in model.stages()]
    try:
        with torch.enable_grad():
            answer = _centered_logit(model(clip[None].detach().requires_grad_()), label)
            gradients = torch.autograd.grad(answer, outputs) if outputs else ()
    finally:
        for handle in handles:
            handle.remove()
    weighted = (output * gradient for output, gradient in zip(outputs, gradients))
    products = [as_maps(output, stage)[0].sum(dim=-1) for stage, output in enumerate(weighted)]
    return [
        LayerMaps(
            layer=f"stage {number}",
            description="Per-location relevance: how much the answer depends on every place after this stage",
            values=_normalize(product.detach().float().abs().cpu()),
            names=tuple(f"time {time}" for time in range(1, len(product) + 1)),
            rows="height",
            columns="width",
            is_signed=False,
        )
        for number, product in enumerate(products, start=1)
    ]


def _centered_logit(logits: Tensor, label: int) -> Tensor:
    """The logit of the class less the mean of all, which softmax cannot tell: [1, K] -> a number."""
    return logits[0, label].float() - logits[0].float().mean()


def _normalize(maps: Tensor) -> Tensor:
    total = maps.sum()
    return maps / total if total > 0 else maps


def _blur(maps: Tensor) -> Tensor:
    """A Gaussian over space, [T, H, W] -> the same; pixels of a gradient are noisier than what they mean."""
    sigma = max(maps.shape[1:]) / BLUR_DIVISOR
    reach = max(1, round(2.5 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    taps = taps / taps.sum()
    maps = maps[:, None]  # T 1 H W
    for shape, pad in (((1, 1, -1, 1), (0, 0, reach, reach)), ((1, 1, 1, -1), (reach, reach, 0, 0))):
        reflects = all(side > reach for side in maps.shape[2:])
        padded = F.pad(maps, pad, mode="reflect" if reflects else "replicate")
        maps = F.conv2d(padded, taps.reshape(shape))
    return maps[:, 0]
