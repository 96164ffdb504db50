"""The generators that a model draws from: drop path, dropout."""

import torch

from slowfast_mlp.seeding import mix_seeds


def seed_step(device: torch.device, *numbers: int) -> None:
    """Begins the generators of the CPU and of the device anew, from `numbers` alone; waits for neither.

    `torch.manual_seed` would do too, but takes fifty times as long on a machine without a GPU: it keeps a
    traceback for devices that were not asked for.
    """
    seed = mix_seeds(*numbers)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
