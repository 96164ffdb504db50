"""What the processes of the distributed tests run: functions that a spawned process can import."""

import os
import signal
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from slowfast_mlp.engine import company
from slowfast_mlp.engine import distributed as dist
from slowfast_mlp.errors import UserError
from slowfast_mlp.models.morphmlp import MorphMLP

CPU = torch.device("cpu")


def model_and_batch() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small MorphMLP, batch norms in its stem, and a batch of 4 clips; the same in every process."""
    torch.manual_seed(0)
    model = MorphMLP(num_classes=3, num_frames=4, crop_size=32, depths=(1,) * 4, dims=(8, 16, 32, 64))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model, torch.randn(4, 3, 4, 32, 32), torch.tensor([0, 1, 2, 0])


def save_gradients(folder: Path, sync_bn: bool, freeze_norms: bool) -> None:
    """This rank's part of the batch, forward and backward; rank 0 saves gradients and buffers."""
    model, clips, labels = model_and_batch()
    if freeze_norms:
        model.eval()
    replica = dist.replicate(model, CPU, sync_bn=sync_bn)
    share = slice(dist.rank() * 4 // dist.world_size(), (dist.rank() + 1) * 4 // dist.world_size())
    F.cross_entropy(replica(clips[share]), labels[share]).backward()
    dist.average_buffers(model)
    if dist.rank() == 0:
        state = {name: parameter.grad for name, parameter in model.named_parameters()}
        torch.save({**state, **dict(model.named_buffers())}, folder / f"gradients-{dist.world_size()}.pt")


def train_a_step_in_bf16(num_frames: int) -> None:
    """Forward and backward under autocast with batch norms over all ranks, of video or of images."""
    torch.manual_seed(0)
    model = MorphMLP(
        num_classes=3, num_frames=num_frames, crop_size=32, depths=(1,) * 4, dims=(8, 16, 32, 64)
    )
    replica = dist.replicate(model, CPU, sync_bn=True)
    clips = torch.randn(2, 3, num_frames, 32, 32) * (1 + dist.rank())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = replica(clips).float().square().mean()
    loss.backward()
    statistics = model.patch_embed1.norm1.running_var.tolist()
    if dist.gather_objects(statistics) != [statistics] * dist.world_size():
        raise RuntimeError("the ranks' statistics differ")


def save_sums(folder: Path) -> None:
    """Every rank saves what it hears of the others."""
    heard = {
        "sum": dist.sum_over_ranks(torch.tensor([dist.rank() + 1.0], dtype=torch.float64)).item(),
        "objects": dist.gather_objects(("from", dist.rank())),
        "threads": torch.get_num_threads(),
    }
    torch.save(heard, folder / f"heard-{dist.rank()}.pt")


def fail_as_a_user() -> None:
    """A mistake of the user's that every rank sees."""
    raise UserError("this setting cannot be")


def fail_in_one_rank() -> None:
    """A bug in one rank while the other waits for it."""
    if dist.rank() == 1:
        raise KeyError("a bug of rank 1")
    dist.sum_over_ranks(torch.ones(1))


def wait_for_a_rank_that_sleeps(limit_sec: float) -> None:
    """Two steps over all ranks, in the second of which rank 1 does not come to the sum."""
    with company.watchdog(limit_sec) as watchdog:
        for step, seconds in enumerate(watchdog.watch([0.0, 600.0], "training epoch 1")):
            if dist.rank() == 1:
                oversleep(seconds)
            dist.sum_over_ranks(torch.ones(1) * step)


def oversleep(seconds: float) -> None:
    """Stands still."""
    time.sleep(seconds)


def wait_for_a_rank_that_is_stopped(limit_sec: float) -> None:
    """Rank 1 stops as a machine does that hangs: no thread of it runs on."""
    with company.watchdog(limit_sec) as watchdog:
        watchdog.note("training epoch 1", 1)
        time.sleep(1.0)  # so that it has been heard of
        if dist.rank() == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        dist.sum_over_ranks(torch.ones(1))


def fail_while_another_does_not_listen() -> None:
    """A bug in rank 1, while rank 0 is busy with something that does not notice."""
    with company.watchdog(None):
        if dist.rank() == 1:
            raise KeyError("a bug of rank 1")
        time.sleep(600)


def tell_of_the_ranks(folder: Path) -> None:
    """Every rank saves what the preflight tells it."""
    (folder / f"table-{dist.rank()}.txt").write_text(company.preflight(CPU))
