"""What the processes of the distributed tests run: functions that a spawned process can import."""

import os
import signal
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from slowfast_mlp.checkpoint.checkpoint import load_optimizer_state
from slowfast_mlp.distributed import data_parallel, rank_checks
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed.sync_batch_norm import convert_sync_batch_norm
from slowfast_mlp.engine.grad_accumulation import backward_in_parts
from slowfast_mlp.engine.optimizer import OptimizerSettings, make_optimizer, parameter_groups
from slowfast_mlp.engine.precise_bn import recompute_statistics
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.errors import UserError
from slowfast_mlp.models.morphmlp import MorphMLP

CPU = torch.device("cpu")


def model_and_batch(batch: int = 4) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small MorphMLP, batch norms in its stem, and a batch of clips; the same in every process."""
    torch.manual_seed(0)
    model = MorphMLP(num_classes=3, num_frames=4, crop_size=32, depths=(1,) * 4, dims=(8, 16, 32, 64))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model, torch.randn(batch, 3, 4, 32, 32), torch.arange(batch) % 3


def save_gradients(folder: Path, sync_bn: bool, freeze_norms: bool) -> None:
    """This rank's part of the batch, forward and backward; rank 0 saves gradients and buffers."""
    model, clips, labels = model_and_batch()
    if freeze_norms:
        model.eval()
    if sync_bn:
        convert_sync_batch_norm(model)
    replica = data_parallel.replicate(model, CPU)
    share = slice(dist.rank() * 4 // dist.world_size(), (dist.rank() + 1) * 4 // dist.world_size())
    F.cross_entropy(replica(clips[share]), labels[share]).backward()
    data_parallel.average_buffers(model)
    if dist.rank() == 0:
        state = {name: parameter.grad for name, parameter in model.named_parameters()}
        torch.save({**state, **dict(model.named_buffers())}, folder / f"gradients-{dist.world_size()}.pt")


def train_a_step_in_bf16(num_frames: int) -> None:
    """Forward and backward under autocast with batch norms over all ranks, of video or of images."""
    torch.manual_seed(0)
    model = MorphMLP(
        num_classes=3, num_frames=num_frames, crop_size=32, depths=(1,) * 4, dims=(8, 16, 32, 64)
    )
    convert_sync_batch_norm(model)
    replica = data_parallel.replicate(model, CPU)
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


def save_accumulated_gradients(folder: Path) -> None:
    """This rank's half of a batch in two parts; rank 0 saves gradients, and how many were shared when."""
    model, clips, labels = model_and_batch()
    model.eval()
    replica = data_parallel.replicate(model, CPU)
    shared: list[int] = []
    replica.register_comm_hook(shared, count_and_average)
    share = slice(dist.rank() * 2, dist.rank() * 2 + 2)
    targets = F.one_hot(labels[share], 3).float() * 0.7 + 0.1
    precision, before = Precision("fp32", CPU), []

    def remember(*_: object) -> None:
        before.append(sum(shared))

    model.register_forward_pre_hook(remember)
    backward_in_parts(replica, clips[share], targets, precision, accumulate_steps=2)
    if dist.rank() == 0:
        gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        counts = dict(shared_before_the_last_part=before[1], shared_with_the_last_part=sum(shared))
        result = dict(gradients=gradients, num_parameters=len(gradients), **counts)
        torch.save(result, folder / "accumulated.pt")


def count_and_average(
    shared: list[int], bucket: torch.distributed.GradBucket
) -> torch.futures.Future[torch.Tensor]:
    """A communication hook of DDP: the mean over ranks, and how many numbers it is of."""
    shared.append(bucket.buffer().numel())
    future = torch.futures.Future()
    future.set_result(dist.sum_over_ranks(bucket.buffer()) / dist.world_size())
    return future


def net_with_norm() -> tuple[nn.Sequential, list[torch.Tensor]]:
    """A convolution and a batch norm, and two batches of clips [4, 3, 2, 6, 6] far from a mean of 0."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 5, (1, 3, 3)), nn.BatchNorm3d(5))
    return net, [torch.randn(4, 3, 2, 6, 6) + 50, 3 * torch.randn(4, 3, 2, 6, 6) + 40]


def save_precise_statistics(folder: Path) -> None:
    """Running statistics recomputed over this rank's batch; rank 0 saves them."""
    net, batches = net_with_norm()
    recompute_statistics(net, [batches[dist.rank()]], Precision("fp32", CPU))
    if dist.rank() == 0:
        torch.save({"mean": net[1].running_mean, "var": net[1].running_var}, folder / "statistics.pt")


def save_sharded_training(folder: Path, shard: bool) -> None:
    """Three steps over all ranks, the second of which is skipped; rank 0 saves weights and optimiser."""
    model, clips, labels = model_and_batch()
    optimizer = adamw(model, shard)
    replica = data_parallel.replicate(model, CPU)
    share = slice(dist.rank() * 4 // dist.world_size(), (dist.rank() + 1) * 4 // dist.world_size())
    precision = Precision("fp32", CPU)
    for step in range(3):
        loss = F.cross_entropy(replica(clips[share]), labels[share])
        precision.backward(loss * (float("nan") if step == 1 else 1))  # the second is skipped
        precision.step(optimizer, replica, 1.0)
    inner = getattr(optimizer, "optim", optimizer)
    held = sum(value.numel() for state in inner.state.values() for value in state.values())
    held = dist.gather_objects(held)
    data_parallel.gather_optimizer_state(optimizer)
    if dist.rank() == 0:
        contents = dict(weights=model.state_dict(), optimizer=optimizer.state_dict(), held=held)
        torch.save(contents, folder / f"sharded-{shard}.pt")


def save_resumed_training(folder: Path, shard: bool) -> None:
    """One more step from the saved state of `save_sharded_training` with shards; rank 0 saves weights."""
    model, clips, labels = model_and_batch()
    optimizer = adamw(model, shard)
    saved = torch.load(folder / "sharded-True.pt", weights_only=True)
    model.load_state_dict(saved["weights"])
    load_optimizer_state(optimizer, saved["optimizer"])
    replica = data_parallel.replicate(model, CPU).eval()
    share = slice(dist.rank() * 4 // dist.world_size(), (dist.rank() + 1) * 4 // dist.world_size())
    F.cross_entropy(replica(clips[share]), labels[share]).backward()
    optimizer.step()
    if dist.rank() == 0:
        torch.save(model.state_dict(), folder / f"resumed-{dist.world_size()}.pt")


def adamw(model: nn.Module, shard: bool) -> torch.optim.Optimizer:
    """AdamW as a run has it, with a learning rate of 0.01."""
    return make_optimizer(
        parameter_groups(model, 0.05), OptimizerSettings(method="adamw", lr=0.01), shard=shard
    )


def wait_for_a_rank_that_sleeps(limit_sec: float) -> None:
    """Two steps over all ranks, in the second of which rank 1 does not come to the sum."""
    with rank_checks.watchdog(limit_sec) as watchdog:
        for step, seconds in enumerate(watchdog.watch([0.0, 600.0], "training epoch 1")):
            if dist.rank() == 1:
                oversleep(seconds)
            dist.sum_over_ranks(torch.ones(1) * step)


def oversleep(seconds: float) -> None:
    """Stands still."""
    time.sleep(seconds)


def wait_for_a_rank_that_is_stopped(limit_sec: float) -> None:
    """Rank 1 stops as a machine does that hangs: no thread of it runs on."""
    with rank_checks.watchdog(limit_sec) as watchdog:
        watchdog.note("training epoch 1", 1)
        time.sleep(1.0)  # so that it has been heard of
        if dist.rank() == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        dist.sum_over_ranks(torch.ones(1))


def fail_while_another_does_not_listen() -> None:
    """A bug in rank 1, while rank 0 is busy with something that does not notice."""
    with rank_checks.watchdog(None):
        if dist.rank() == 1:
            raise KeyError("a bug of rank 1")
        time.sleep(600)


def tell_of_the_ranks(folder: Path) -> None:
    """Every rank saves what the preflight tells it."""
    (folder / f"table-{dist.rank()}.txt").write_text(rank_checks.preflight(CPU))
