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
    """Every floating-point entry, in float32, from a stream seeded by its name."""
    weights = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            continue
        values = _stream(zlib.crc32(key.encode()), shape)
        if key.endswith("running_var"):
            values = 0.5 * np.abs(values) + 0.5
        elif len(shape) >= 2:
            values = values / math.sqrt(math.prod(shape[1:]))
        else:
            values = 0.1 * values + (1 if key.endswith("weight") else 0)
        weights[key] = torch.from_numpy(np.asarray(values)).float()
    return weights


def golden_clip(num_frames: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[1, 3, T, 224, 224]; float64 has not been rounded to float32 before."""
    return torch.from_numpy(_stream(20261120 + num_frames, (1, 3, num_frames, 224, 224))).to(dtype)


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
