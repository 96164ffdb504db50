"""Parameters of a model, and multiply-adds and activations of a forward pass."""

import warnings
from typing import Any

import torch
from torch import nn

# Operators without a formula in fvcore, which papers do not count: elementwise, reductions, data movement.
ELEMENTWISE = "add sub mul mul_ div addcmul maximum minimum"
ACTIVATIONS = "gelu gelu_ sigmoid hardsigmoid hardswish hardtanh hardtanh_ relu"
REDUCTIONS = "softmax mean sum addmv"
MOVES = "pad channel_shuffle mT unflatten expand_as embedding"
NOT_COUNTED = {f"aten::{name}" for name in f"{ELEMENTWISE} {ACTIVATIONS} {REDUCTIONS} {MOVES}".split()}


def count_parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_flops(model: nn.Module, clip_shape: tuple[int, ...]) -> int:
    """Multiply-adds of one forward pass of a clip [3, T, H, W], counted as by fvcore and in papers.

    LayerNorm counts as 5 per element, BatchNorm as 1. Runs the model once, on its device, in eval mode.
    Raises RuntimeError for an operator that cannot be counted, which would silently count as zero.
    """
    flops, unsupported = _trace(model, clip_shape, "FlopCountAnalysis")
    unknown = unsupported - NOT_COUNTED
    if unknown:
        raise RuntimeError(f"fvcore cannot count {', '.join(sorted(unknown))}: the FLOPs would be too few.")
    return flops


def count_activations(model: nn.Module, clip_shape: tuple[int, ...]) -> int:
    """Output elements of the convolutions and matrix products of one forward pass, as fvcore counts."""
    return _trace(model, clip_shape, "ActivationCountAnalysis")[0]


def _trace(model: nn.Module, clip_shape: tuple[int, ...], analysis_name: str) -> tuple[int, set[str]]:
    """The total of a fvcore analysis of the model, and the operators that it could not count."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seven deprecation warnings of torch.jit
        import fvcore.nn  # slow: 1 to 4 seconds

        device = next(model.parameters()).device
        was_training = model.training
        model.eval()
        with torch.no_grad():
            clip = torch.zeros(1, *clip_shape, device=device)
            analysis: Any = getattr(fvcore.nn, analysis_name)(model, clip)
            analysis.set_op_handle(**_handles(analysis_name))
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            total = int(analysis.total())
        model.train(was_training)
    return total, set(analysis.unsupported_ops())


def _handles(analysis_name: str) -> dict[str, Any]:
    """fvcore's formulas for operators that it does not know by name."""
    from fvcore.nn import jit_handles

    if analysis_name == "ActivationCountAnalysis":
        return {f"aten::{name}": jit_handles.generic_activation_jit() for name in ("addmm_", "baddbmm")}
    return {
        "aten::addmm_": jit_handles.addmm_flop_jit,
        "aten::baddbmm": lambda inputs, outputs: jit_handles.bmm_flop_jit(inputs[1:3], outputs),
        # With gain and bias, as for any other model: they are folded into the next layer, not left out.
        "aten::native_layer_norm": jit_handles.norm_flop_counter(affine_arg_index=0),
    }
