"""How many clips a second a backbone trains with on the device at hand."""

import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast_mlp.builders import model, solver
from slowfast_mlp.config.schema import Model, Solver
from slowfast_mlp.engine.precision import Precision

NUM_CLASSES, NUM_FRAMES, CROP_SIZE = 400, 16, 224
CUDA_BATCH, CPU_BATCH = 16, 1
NUM_STEPS = 3
MIN_SEC = 2.0  # of measuring; less says little


def build_model(
    name: str,
    variant: str,
    device: torch.device,
    *,
    num_frames: int = NUM_FRAMES,
    crop_size: int = CROP_SIZE,
    arguments: dict | None = None,
) -> nn.Module:
    """The backbone with 400 classes, the same weights every time. Raises UserError."""
    torch.manual_seed(0)
    section = Model(name=name, variant=variant, num_classes=NUM_CLASSES, args=arguments or {})
    net = model.model(section, num_frames=num_frames, crop_size=crop_size, test_crop_size=crop_size)
    return net.to(device)


def clips_per_sec(name: str, variant: str, device: torch.device) -> float:
    """Clips of 16 x 224 x 224 through forward, backward and optimiser, in TRAIN.PRECISION auto."""
    batch_size = CUDA_BATCH if device.type == "cuda" else CPU_BATCH
    net = build_model(name, variant, device).train()
    optimizer, precision = solver.optimizer(Solver(base_lr=1e-4), net, shard=False), Precision("auto", device)
    clips = torch.randn(batch_size, 3, NUM_FRAMES, CROP_SIZE, CROP_SIZE, device=device)
    labels = torch.zeros(batch_size, dtype=torch.int64, device=device)

    def step() -> Tensor:
        with precision.autocast():
            logits = net(clips)
        precision.backward(F.cross_entropy(logits.float(), labels))
        return precision.step(optimizer, net, None)[0]

    step().item()  # waits for the device
    start, num_steps = time.perf_counter(), 0
    while num_steps < NUM_STEPS or time.perf_counter() - start < MIN_SEC:
        step().item()
        num_steps += 1
    return batch_size * num_steps / (time.perf_counter() - start)
