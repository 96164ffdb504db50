"""Size and cost of a model: parameters, and multiply-adds of a forward pass."""

import warnings

import torch
from torch import nn

# What fvcore has no formula for and the field does not count: elementwise work, averages, and moving numbers.
ELEMENTWISE = ("add", "sub", "mul", "div", "gelu", "sigmoid", "hardsigmoid", "hardswish", "hardtanh")
REDUCTIONS = ("softmax", "mean", "sum")
MOVES = ("pad", "channel_shuffle", "mT", "unflatten")
NOT_COUNTED = {f"aten::{name}" for name in (*ELEMENTWISE, *REDUCTIONS, *MOVES)}


def count_parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_flops(model: nn.Module, clip_shape: tuple[int, ...]) -> int:
    """Multiply-adds of one forward pass of a clip [3, T, H, W], counted as fvcore and the papers do.

    5 an element for LayerNorm and 1 for BatchNorm are in it. Runs the model once, on its device, in eval
    mode. Raises RuntimeError for an operator that cannot be counted: it would silently be zero.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit's deprecation, seven times
        from fvcore.nn import FlopCountAnalysis  # 1 to 4 seconds, for those who count

        device = next(model.parameters()).device
        was_training = model.training
        model.eval()
        with torch.no_grad():
            analysis = FlopCountAnalysis(model, torch.zeros(1, *clip_shape, device=device))
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            flops = int(analysis.total())
        model.train(was_training)
    unknown = set(analysis.unsupported_ops()) - NOT_COUNTED
    if unknown:
        raise RuntimeError(f"fvcore cannot count {', '.join(sorted(unknown))}: the FLOPs would be too few.")
    return flops
