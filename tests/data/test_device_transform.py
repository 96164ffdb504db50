"""From views to the model's input, and the modes that share the work between host and device differently."""

import dataclasses

import pytest
import torch

from slowfast_mlp.data.clip_sampling import DenseClips
from slowfast_mlp.data.dataset import TrainVideos, Views, collate_views
from slowfast_mlp.data.device_transform import ToInput
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.transforms.augment import PlanDrawer, augment_exactly
from slowfast_mlp.data.transforms.randaugment import parse_randaugment

MEAN, STD = (0.45, 0.4, 0.5), (0.225, 0.2, 0.25)
CPU = torch.device("cpu")


def to_input(**changes):
    return ToInput(mean=MEAN, std=STD, device=CPU, **changes)


def views(clips):
    numbers = torch.arange(len(clips))
    return Views(clips, numbers, numbers, ())


@pytest.fixture(scope="module")
def records(write_numbered):
    return [Record(write_numbered(f"{n}.mp4", 40 + n), n % 3) for n in range(3)]


def train_set(records, augment):
    return TrainVideos(
        records,
        clips=DenseClips(num_frames=4, sampling_rate=2, target_fps=30, offset=True, shuffle=False),
        draw_plan=PlanDrawer(
            crop_size=24,
            area=(0.08, 1),
            aspect=(0.75, 1.3333),
            flip=True,
            randaugment=parse_randaugment("rand-m7-n4-mstd0.5-inc1"),
            erase_prob=0.5,
        ),
        augment=augment,
        num_samples=2,
        decoder="auto",
        seed=0,
    )


def test_white_and_black_become_the_papers_numbers():
    levels = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1, 1).expand(2, 3, 2, 4, 5)
    clips = to_input()(views(levels))
    assert (clips.shape, clips.dtype, clips.is_contiguous()) == ((2, 3, 2, 4, 5), torch.float32, True)
    assert clips[1, :, 0, 0, 0].tolist() == pytest.approx([-2.0, -2.0, -2.0])
    assert clips[1, :, 1, 0, 0].tolist() == pytest.approx([(1 - 0.45) / 0.225, 3.0, 2.0])


def test_augmenting_on_the_device_gives_what_the_host_gives_bit_for_bit(records):
    for epoch in range(10):
        host, device = (
            collate_views([train_set(records, augment)[(n, epoch)] for n in range(3)])
            for augment in (augment_exactly, None)
        )
        assert (host.clips.shape, host.sizes) == ((6, 3, 4, 24, 24), ())
        assert (device.clips.shape, device.sizes) == ((3 * 4 * 48 * 144 * 3,), ((4, 48, 144),) * 3)
        assert device.clips.dtype == host.clips.dtype == torch.uint8
        assert host.plans == device.plans and len(host.plans) == 6
        assert torch.equal(host.labels, device.labels)
        one, other = to_input()(host), to_input(augment=augment_exactly)(device)
        assert torch.equal(one, other)


@pytest.mark.gpu
def test_a_gpu_augments_as_the_cpu_does_but_for_rounding(records):
    cuda = torch.device("cuda")
    for epoch in range(5):
        batch = collate_views([train_set(records, None)[(n, epoch)] for n in range(3)])
        batch = batch._replace(plans=tuple(dataclasses.replace(plan, erasure=None) for plan in batch.plans))
        expected = to_input(augment=augment_exactly)(batch)
        given = ToInput(mean=MEAN, std=STD, device=cuda, augment=augment_exactly)(batch).cpu()
        assert (given - expected).abs().mean() < 0.5 / 255 / min(STD)


def test_videos_of_different_sizes_travel_together(records):
    items = [train_set(records, None)[(0, 0)], train_set(records, None)[(1, 0)]]
    cut = items[1].clips.reshape(4, 48, 144, 3)[:, :40, :100].contiguous()
    crops = [dataclasses.replace(plan, crop=(0, 0, 30, 40)) for plan in items[1].plans]
    items[1] = items[1]._replace(clips=cut.flatten(), sizes=((4, 40, 100),), plans=tuple(crops))
    together = to_input(augment=augment_exactly)(collate_views(items))
    alone = [to_input(augment=augment_exactly)(item) for item in items]
    assert torch.equal(together, torch.cat(alone))


def test_boxes_are_erased_in_normalised_units_and_only_where_the_plan_says(records):
    batch = collate_views(
        [train_set(records, augment_exactly)[(n, epoch)] for n in range(3) for epoch in range(8)]
    )
    clips = to_input()(batch)
    untouched = to_input()(batch._replace(plans=()))
    num_erased = 0
    for clip, plain, plan in zip(clips, untouched, batch.plans):
        changed = (clip != plain).any(dim=0).any(dim=0)
        expected = torch.zeros(24, 24, dtype=torch.bool)
        if plan.erasure:
            top, left, height, width = plan.erasure
            expected[top : top + height, left : left + width] = True
            num_erased += 1
        assert torch.equal(changed, expected)
    assert 12 < num_erased < 36  # half of 48


def test_the_views_themselves_are_left_as_they_are(records):
    batch = collate_views([train_set(records, augment_exactly)[(0, 0)]])
    before = batch.clips.clone()
    assert torch.equal(to_input()(batch), to_input()(batch))
    assert torch.equal(batch.clips, before)
