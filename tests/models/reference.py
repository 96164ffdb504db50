"""The reference implementation of a model: its own forward, without fused kernels."""

import copy

from torch import nn

from slowfast_mlp.kernels.fused import use_reference


def reference(model: nn.Module) -> nn.Module:
    """A copy of the model whose modules all compute by their own equations; with the same names and weights."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        module.forward = _under_reference(module.forward)
    return copied


def _under_reference(forward):
    def run(*inputs, **settings):
        with use_reference():
            return forward(*inputs, **settings)

    return run
