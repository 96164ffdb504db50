"""From views to the model's input, and the modes that share the work between host and device differently."""

import dataclasses

import pytest
import torch

from slowfast_mlp.data.batch import RawFrames, Views, collate
from slowfast_mlp.data.clip_reader import ClipReader
from slowfast_mlp.data.clip_sampling import DenseClipSampler
from slowfast_mlp.data.dataset import TrainVideos
from slowfast_mlp.data.device_transform import DeviceTransform
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.transforms.augment import augment_exact
from slowfast_mlp.data.transforms.augment_params import AugmentSampler
from slowfast_mlp.data.transforms.randaugment import parse_randaugment

MEAN, STD = (0.45, 0.4, 0.5), (0.225, 0.2, 0.25)
CPU = torch.device("cpu")


def to_input(batch, device=CPU):
    return DeviceTransform(mean=MEAN, std=STD, device=device)(batch.to(device))


def views(clips):
    numbers = torch.arange(len(clips))
    return Views(clips, numbers, numbers, ())


@pytest.fixture(scope="module")
def records(write_numbered):
    return [Record(write_numbered(f"{n}.mp4", 40 + n), n % 3) for n in range(3)]


def train_set(records, augment):
    sampler = DenseClipSampler(num_frames=4, sampling_rate=2, target_fps=30, offset=True, shuffle=False)
    return TrainVideos(
        records,
        ClipReader(clip_sampler=sampler, decoder="auto"),
        augment_sampler=AugmentSampler(
            crop_size=24,
            area=(0.08, 1),
            aspect=(0.75, 1.3333),
            flip=True,
            randaugment=parse_randaugment("rand-m7-n4-mstd0.5-inc1"),
            erase_prob=0.5,
        ),
        augment=augment,
        num_samples=2,
        seed=0,
    )


def test_white_and_black_become_the_papers_numbers():
    levels = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1, 1).expand(2, 3, 2, 4, 5)
    clips = to_input(views(levels))
    assert (clips.shape, clips.dtype, clips.is_contiguous()) == ((2, 3, 2, 4, 5), torch.float32, True)
    assert clips[1, :, 0, 0, 0].tolist() == pytest.approx([-2.0, -2.0, -2.0])
    assert clips[1, :, 1, 0, 0].tolist() == pytest.approx([(1 - 0.45) / 0.225, 3.0, 2.0])


def test_augmenting_on_the_device_gives_what_the_host_gives_bit_for_bit(records):
    for epoch in range(10):
        host, device = (
            collate([train_set(records, augment)[(n, epoch)] for n in range(3)])
            for augment in (augment_exact, None)
        )
        assert isinstance(host, Views) and isinstance(device, RawFrames)
        assert host.clips.shape == (6, 3, 4, 24, 24)
        assert (device.frames.shape, device.sizes) == ((3 * 4 * 48 * 144 * 3,), ((4, 48, 144),) * 3)
        assert device.frames.dtype == host.clips.dtype == torch.uint8
        assert host.params == device.params and len(host.params) == 6
        assert torch.equal(host.labels, device.labels)
        one, other = to_input(host), to_input(device)
        assert torch.equal(one, other)


@pytest.mark.gpu
def test_a_gpu_augments_as_the_cpu_does_but_for_rounding(records):
    cuda = torch.device("cuda")
    for epoch in range(5):
        batch = collate([train_set(records, None)[(n, epoch)] for n in range(3)])
        batch = batch._replace(params=tuple(dataclasses.replace(one, erasure=None) for one in batch.params))
        expected = to_input(batch)
        given = to_input(batch, cuda).cpu()
        assert (given - expected).abs().mean() < 0.5 / 255 / min(STD)


def test_videos_of_different_sizes_travel_together(records):
    items = [train_set(records, None)[(0, 0)], train_set(records, None)[(1, 0)]]
    cut = items[1].frames.reshape(4, 48, 144, 3)[:, :40, :100].contiguous()
    crops = [dataclasses.replace(one, crop=(0, 0, 30, 40)) for one in items[1].params]
    items[1] = items[1]._replace(frames=cut.flatten(), sizes=((4, 40, 100),), params=tuple(crops))
    together = to_input(collate(items))
    alone = [to_input(item) for item in items]
    assert torch.equal(together, torch.cat(alone))


def test_boxes_are_erased_in_normalized_units_and_only_where_the_params_say(records):
    batch = collate([train_set(records, augment_exact)[(n, epoch)] for n in range(3) for epoch in range(8)])
    clips = to_input(batch)
    untouched = to_input(batch._replace(params=()))
    num_erased = 0
    for clip, plain, params in zip(clips, untouched, batch.params):
        changed = (clip != plain).any(dim=0).any(dim=0)
        expected = torch.zeros(24, 24, dtype=torch.bool)
        if params.erasure:
            top, left, height, width = params.erasure
            expected[top : top + height, left : left + width] = True
            num_erased += 1
        assert torch.equal(changed, expected)
    assert 12 < num_erased < 36  # half of 48


def test_the_views_themselves_are_left_as_they_are(records):
    batch = collate([train_set(records, augment_exact)[(0, 0)]])
    before = batch.clips.clone()
    assert torch.equal(to_input(batch), to_input(batch))
    assert torch.equal(batch.clips, before)
