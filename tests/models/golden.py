"""Weights and clips that anyone can rebuild, for which the papers' own code was run once (tests/golden)."""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).parents[1] / "golden"


def read_golden(name: str) -> dict[str, Any]:
    """The recorded figures: shapes by official key, logits."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def golden_weights(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Every floating-point entry but PosMLP's buffers, in float32, from a stream seeded by its name."""
    weights = {}
    for key, shape in shapes.items():
        if key.endswith(("num_batches_tracked", "position_index", "rel_indices")):
            continue
        values = _stream(zlib.crc32(key.encode()), shape)
        if key.endswith("running_var"):
            values = 0.5 * np.abs(values) + 0.5
        elif len(shape) >= 2 and "token_proj_n_bias" not in key and "bias_table" not in key:
            values = values / math.sqrt(math.prod(shape[1:]))
        else:
            values = 0.1 * values + (1 if key.endswith("weight") else 0)
        if key.endswith("attention_spreads"):
            values = 0.3 * values + np.eye(2)
        weights[key] = torch.from_numpy(np.asarray(values)).float()
    return weights


def golden_clip(num_frames: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[1, 3, T, 224, 224]; the video models were run on the float32 clip, image models on the float64 one."""
    return torch.from_numpy(_stream(20261120 + num_frames, (1, 3, num_frames, 224, 224))).to(dtype)


def sine_weights(module: nn.Module) -> None:
    """Fills every parameter by the formula of the PosMLP figures: a sine that starts by the length of its
    name.
    """
    for key, parameter in module.named_parameters():
        i = torch.arange(parameter.numel(), dtype=torch.float64)
        values = 0.1 * torch.sin(0.7 * i + 0.3 * len(key)).reshape(parameter.shape)
        if "norm" in key and key.endswith("weight"):
            values = values + 1
        if key.endswith("attention_spreads"):
            values = values + torch.eye(2)
        with torch.no_grad():
            parameter.copy_(values)


def sine_input(*shape: int) -> Tensor:
    """sin(0.013·i) in float64."""
    return torch.sin(0.013 * torch.arange(math.prod(shape), dtype=torch.float64)).reshape(shape)


def _stream(seed: int, shape: Any) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.standard_normal(math.prod(shape)).reshape(shape)


def hashed(model: nn.Module) -> None:
    """Fills a model's state by the integer formula of the second set of figures (float64, sorted keys)."""
    state = model.state_dict()
    keys = sorted(key for key in state if not key.endswith("num_batches_tracked"))
    for k, key in enumerate(keys):
        shape = tuple(state[key].shape)
        values = hashed_values(k, math.prod(shape)).reshape(shape)
        if key.endswith("running_var"):
            values = 1 + 0.5 * values
        elif key.endswith(("running_mean", ".bias")):
            values = 0.2 * values
        elif len(shape) == 1:
            values = 1 + 0.2 * values
        else:
            values = values * 2 / math.sqrt(math.prod(shape[1:]))
        state[key] = torch.from_numpy(values)
    model.load_state_dict(state)


def hashed_values(k: int, count: int) -> np.ndarray:
    """`count` numbers of -0.5 to 0.5 for the k-th entry; k = 999 is the input, over 4."""
    i = np.arange(count, dtype=np.int64)
    return (((i * (i + 31 * k + 7)) % 65537 * 40503 + 12345 * k + 11) % 65537) / 65537 - 0.5
