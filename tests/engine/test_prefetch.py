"""Batches on their way to the device: in order, and unchanged."""

import pytest
import torch

from slowfast_mlp.data.batch import Failure, Views
from slowfast_mlp.engine.prefetch import on_device


def batches(number, size=1000):
    for n in range(number):
        clips = torch.full((size,), n, dtype=torch.uint8)
        yield Views(clips, torch.tensor([n]), torch.tensor([10 + n]), (Failure(n, "a.mp4", f"batch {n}", 1),))


def name_of(batch):
    return batch.failures[0].reason


def test_batches_come_in_order_and_whole():
    arrived = list(on_device(batches(3), torch.device("cpu")))
    assert [name_of(batch) for batch in arrived] == ["batch 0", "batch 1", "batch 2"]
    for batch, sent in zip(arrived, batches(3)):
        assert torch.equal(batch.clips, sent.clips) and torch.equal(batch.labels, sent.labels)
        assert torch.equal(batch.videos, sent.videos)


def test_no_batch_is_taken_before_it_is_asked_for():
    asked = []

    def loader():
        for batch in batches(3):
            asked.append(name_of(batch))
            yield batch

    arriving = on_device(loader(), torch.device("cpu"))
    next(arriving)
    assert asked == ["batch 0"]


@pytest.mark.gpu
def test_on_a_gpu_nothing_overtakes_the_copy_and_nothing_waits():
    device = torch.device("cuda")
    pinned = (
        batch._replace(clips=batch.clips.pin_memory(), labels=batch.labels.pin_memory())
        for batch in batches(20, size=1 << 24)
    )
    found = []
    for batch in on_device(pinned, device):
        torch.cuda.set_sync_debug_mode("error")
        work = torch.ones(1024, 1024, device=device)
        for _ in range(20):
            work = work @ work * 1e-3
        found.append(batch.clips.float().mean() + 0 * work.mean().nan_to_num())
        torch.cuda.set_sync_debug_mode("default")
        assert batch.clips.device.type == "cuda" and batch.videos.device.type == "cpu"
    assert torch.stack(found).tolist() == [float(n) for n in range(20)]
