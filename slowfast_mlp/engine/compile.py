"""torch.compile of the model as the training loop calls it."""

import os
import shutil

import torch
from torch import nn

from slowfast_mlp.errors import UserError


def compile_replica(replica: nn.Module, model: nn.Module, device: torch.device) -> nn.Module:
    """A compiled `replica`; the bare `model` stays as it is, so that an evaluation does not depend on it.

    Every new shape of a batch is compiled when it first comes. Raises UserError without a compiler.
    """
    check_compiler(device)
    if replica is model:
        return torch.compile(model)
    replica.compile()  # in place: what wraps the model must still know how to share gradients
    return replica


def check_compiler(device: torch.device) -> None:
    """Raises UserError if torch.compile has no compiler for the device."""
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and not shutil.which(compiler):
        raise UserError(
            f"TRAIN.COMPILE True: on a CPU it needs a C++ compiler, and there is no {compiler}. Install one, "
            "name it in CXX, or set TRAIN.COMPILE False."
        )
