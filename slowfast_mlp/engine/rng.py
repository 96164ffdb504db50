"""Random number generators of a model: drop path, dropout."""

import torch

from slowfast_mlp.seeding import mix_seeds


def seed_step(device: torch.device, *numbers: int) -> None:
    """Seeds the generators of the CPU and the device from `numbers`, without waiting for the device.

    `torch.manual_seed` takes fifty times as long on a machine without a GPU, since it stores a traceback for
    devices that are not initialized.
    """
    seed = mix_seeds(*numbers)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
