"""Precision of a run: fp32, bf16 or fp16 behind one interface."""

import logging
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.engine.optimizer import step_unless
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast, loss scaling, gradient clipping and the optimizer step.

    `mode` auto is bf16 if the device supports it, else fp32. fp16 scales the loss; on a CPU it is 200 times
    slower and raises UserError.
    """

    def __init__(self, mode: str, device: torch.device):
        if mode == "auto":
            mode = "bf16" if has_bf16(device) else "fp32"
        if mode == "fp16" and device.type == "cpu":
            raise UserError(
                "TRAIN.PRECISION fp16 is 200 times slower than fp32 on a CPU; use bf16, fp32 or auto."
            )
        self.mode = mode
        self.device_type = device.type
        self._scaler = torch.amp.GradScaler(device.type, enabled=mode == "fp16")

    def autocast(self) -> AbstractContextManager:
        """The context of a forward pass."""
        return torch.autocast(self.device_type, dtype=DTYPES[self.mode], enabled=self.mode != "fp32")

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a loss [] to those of the parameters: NaN if the loss is not finite."""
        # NaN or 1: through the gradients every rank learns that one of them has to skip the step.
        seed = loss.detach() * 0 + 1
        self._scaler.scale(loss).backward(seed)

    def step(
        self, optimizer: torch.optim.Optimizer, model: nn.Module, max_norm: float | None
    ) -> tuple[Tensor, Tensor]:
        """Clips gradients to the global norm `max_norm`, takes the step and clears the gradients.

        Returns the norm before clipping, and whether the step was skipped [] (bool) because the norm was not
        finite: weights and optimizer state are then unchanged. The device decides; the host does not wait.
        """
        self._scaler.unscale_(optimizer)
        limit = float("inf") if max_norm is None else max_norm
        norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
        skipped = ~norm.isfinite()
        step_unless(optimizer, skipped)
        self._scaler.update()
        optimizer.zero_grad(set_to_none=True)
        return norm, skipped

    def state_dict(self) -> dict[str, Any]:
        """The scaler's state; empty when nothing is scaled."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a saved state; without one the loss scale is re-initialized."""
        if state and self.mode == "fp16":
            self._scaler.load_state_dict(state)


def has_bf16(device: torch.device) -> bool:
    """Whether the device supports bf16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # torch 2.11 and later
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False
