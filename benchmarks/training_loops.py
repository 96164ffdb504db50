"""The training loop of the engine, and a bare one, over the same batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from slowfast_mlp.benchmarks.loader_passes import DENSE, NUM_SAMPLES, make_device_transform, train_videos
from slowfast_mlp.benchmarks.step_timer import StepTimer
from slowfast_mlp.benchmarks.throughput import NUM_CLASSES
from slowfast_mlp.data.batch import Views, collate
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.samplers import SampleKey, TrainSampler
from slowfast_mlp.engine.metrics import soft_targets
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.schedule import WarmupCosine
from slowfast_mlp.engine.train import train_one_epoch
from slowfast_mlp.engine.training import Training
from slowfast_mlp.log.decode_failures import FailedVideos
from slowfast_mlp.log.nonfinite_steps import SkippedSteps
from slowfast_mlp.log.progress import Progress
from slowfast_mlp.log.run_log import RunLog

LOG_PERIOD = 10  # LOG_PERIOD's default


@dataclass(frozen=True, kw_only=True)
class LoopSetup:
    """A model with its optimiser, and batches in memory, that both loops use."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    precision: Precision
    batches: Sequence[Views]
    device: torch.device
    is_reduced: bool  # a backbone with fewer channels than its variant has


def bare_loop(setup: LoopSetup) -> None:
    """The least that trains: input, forward, loss, backward and optimiser."""
    device_transform = make_device_transform(setup.device)
    setup.model.train()
    for views in setup.batches:
        views = views.to(setup.device, non_blocking=True)
        clips, targets = device_transform(views), _targets(views.labels)
        with setup.precision.autocast():
            logits = setup.model(clips)
        loss = F.cross_entropy(logits.float(), targets)
        setup.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        setup.optimizer.step()


def video_loader(setup: LoopSetup, records: Sequence[Record]) -> DataLoader:
    """Clips of videos, as many and as large as those of the batches in memory, from one worker."""
    batch_size, _, num_frames, crop_size, _ = setup.batches[0].clips.shape
    rate = DENSE.sampling_rate * DENSE.num_frames / num_frames  # the same span of the video
    clips = replace(DENSE, num_frames=num_frames, sampling_rate=rate)
    num_videos = -(-batch_size // NUM_SAMPLES)
    keys = [
        [SampleKey(n % len(records), step) for n in range(num_videos)] for step in range(len(setup.batches))
    ]
    return DataLoader(
        train_videos(records, clips, "fused", crop_size=crop_size),
        batch_sampler=keys,
        collate_fn=collate,
        num_workers=1,
        pin_memory=setup.device.type == "cuda",
    )


def training_loop(
    setup: LoopSetup, log: RunLog, *, timer: StepTimer | None = None, loader: Iterable[Views] | None = None
) -> None:
    """An epoch of the engine over the batches in memory, or over a loader with as many, with its lines;
    `timer` notes when each part of a step ends.
    """
    num_steps = len(setup.batches)
    batches = loader or setup.batches
    failed = FailedVideos(log.output_dir, max_fraction=0.1)
    progress = Progress(log, failed, log_period=LOG_PERIOD, steps_of_epochs=[num_steps])
    skipped = SkippedSteps(log.output_dir, max_in_a_row=num_steps, seed=0, path_of=str, device=setup.device)
    device_transform = make_device_transform(setup.device)
    batch_size = setup.batches[0].clips.shape[0]
    training = Training(
        model=setup.model,
        optimizer=setup.optimizer,
        precision=setup.precision,
        loader=timer.wrap_loader(batches) if timer else batches,
        sampler=TrainSampler(
            torch.zeros(num_steps * batch_size), batch_size=batch_size, rank=0, world_size=1, seed=0
        ),
        device_transform=timer.wrap("to device", device_transform) if timer else device_transform,
        make_targets=_targets,
        lr_at=WarmupCosine(base_lr=1e-4, start_lr=1e-6, end_lr=1e-6, warmup_epochs=0, max_epoch=1),
        progress=progress,
        skipped_steps=skipped,
        num_classes=NUM_CLASSES,
        device=setup.device,
        seed=0,
    )
    for _ in train_one_epoch(training, 0):
        pass


def _targets(labels: Tensor) -> Tensor:
    return soft_targets(labels, NUM_CLASSES, 0.1)
