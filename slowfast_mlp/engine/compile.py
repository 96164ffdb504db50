"""torch.compile of the model in the training loop."""

import os
import shutil

import torch
from torch import nn

from slowfast_mlp.errors import UserError


def compile_replica(replica: nn.Module, model: nn.Module, device: torch.device) -> nn.Module:
    """Compiles `replica`, but not `model` itself, so that evaluation does not depend on it.

    Every new batch shape is compiled when it first occurs. Raises UserError without a compiler.
    """
    check_compiler(device)
    if replica is model:
        return torch.compile(model)
    replica.compile()  # in place: the DDP wrapper must still all-reduce gradients
    return replica


def check_compiler(device: torch.device) -> None:
    """Raises UserError if torch.compile has no compiler for the device."""
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and not shutil.which(compiler):
        raise UserError(
            f"TRAIN.COMPILE True: on a CPU it needs a C++ compiler, and there is no {compiler}. Install one, "
            "name it in CXX, or set TRAIN.COMPILE False."
        )
