"""The data sets on real files: what an item holds, and what becomes of videos that cannot be read."""

import pytest
import torch
from torch.utils.data import DataLoader

from slowfast_mlp.data.batch import collate
from slowfast_mlp.data.clip_reader import ClipReader
from slowfast_mlp.data.clip_sampling import DenseClipSampler
from slowfast_mlp.data.dataset import EvalVideos, TrainVideos
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.samplers import EvalBatchSampler, SampleKey, TrainSampler
from slowfast_mlp.data.transforms.augment import augment_exact
from slowfast_mlp.data.transforms.augment_params import AugmentSampler
from slowfast_mlp.data.transforms.randaugment import parse_randaugment
from slowfast_mlp.errors import UserError
from tests.conftest import numbers_shown


def reader(**changes):
    settings = dict(num_frames=4, sampling_rate=2, target_fps=30, offset=True, shuffle=False)
    return ClipReader(clip_sampler=DenseClipSampler(**{**settings, **changes}), decoder="auto")


def keep_pixels(frames):
    """Views that are the frames, and so still show their numbers."""
    return frames.permute(3, 0, 1, 2).unsqueeze(0)


def shown(view):
    """The frame numbers of a view [3, T, H, W]."""
    return numbers_shown(view.permute(1, 2, 3, 0))


@pytest.fixture(scope="module")
def records(write_numbered):
    return [Record(write_numbered(f"{n}.mp4", 40 + n), n % 3) for n in range(6)]


def train_set(records, seed=0, reader=reader(), **changes):  # noqa: B008
    sampler = AugmentSampler(crop_size=32, area=(0.5, 1), aspect=(0.75, 1.3333), flip=True, erase_prob=0.5)
    settings = dict(augment_sampler=sampler, augment=lambda frames, params: frames, num_samples=1)
    return TrainVideos(records, reader, seed=seed, **{**settings, **changes})


def eval_set(records, num_clips=3, transform=keep_pixels, num_crops=1, **changes):
    return EvalVideos(
        records,
        reader(**changes),
        num_clips=num_clips,
        num_crops=num_crops,
        transform=transform,
        seed=0,
    )


def test_a_training_item_is_a_clip_of_its_record(records):
    views = train_set(records)[(4, 0)]
    assert views.clips.shape == (1, 3, 4, 48, 144)
    assert (views.labels.tolist(), views.videos.tolist(), views.failures) == ([1], [4], ())
    numbers = shown(views.clips[0])
    # A span of 8 frames, four of them: steps of 7/3, rounded down.
    assert all(2 <= step <= 3 for step in torch.tensor(numbers).diff())


def test_draws_depend_on_seed_epoch_and_record_alone(records):
    def drawn(seed, epoch, workers):
        sampler = TrainSampler(torch.zeros(6, dtype=torch.int64), batch_size=2, rank=0, world_size=1, seed=5)
        sampler.epoch = epoch
        loader = DataLoader(
            train_set(records, seed),
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
        )
        return {int(v): shown(clip) for views in loader for v, clip in zip(views.videos, views.clips)}

    assert drawn(0, 0, 0) == drawn(0, 0, 2)
    assert drawn(0, 0, 0) != drawn(0, 1, 0)
    assert drawn(0, 0, 0) != drawn(1, 0, 0)


def everything(records, **changes):
    """A dataset with every augmentation, three views a video."""
    sampler = AugmentSampler(
        crop_size=32,
        area=(0.08, 1),
        aspect=(0.75, 1.3333),
        flip=True,
        randaugment=parse_randaugment("rand-m7-n4-mstd0.5-inc1"),
        erase_prob=0.5,
    )
    return train_set(
        records, **{**dict(augment_sampler=sampler, augment=augment_exact, num_samples=3), **changes}
    )


def epoch_of(data, workers=0, rank=0, world_size=1, epoch=1):
    """Views and parameters of every video of an epoch, as the loader of a rank gives them."""
    labels = torch.zeros(6, dtype=torch.int64)
    sampler = TrainSampler(labels, batch_size=2, rank=rank, world_size=world_size, seed=5)
    sampler.epoch = epoch
    loader = DataLoader(data, batch_sampler=sampler, num_workers=workers, collate_fn=collate)
    found = {}
    for views in loader:
        for video, clip, params in zip(views.videos.tolist(), views.clips, views.params):
            found.setdefault(video, []).append((clip.clone(), params))
    return found


def assert_same(one, other):
    assert one.keys() == other.keys()
    for video in one:
        assert [params for _, params in one[video]] == [params for _, params in other[video]]
        assert all(torch.equal(a, b) for (a, _), (b, _) in zip(one[video], other[video]))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
def test_augmented_views_are_the_same_with_any_number_of_workers_and_ranks(records):
    alone = epoch_of(everything(records))
    assert len(alone) == 6 and {len(views) for views in alone.values()} == {3}
    for workers in (2, 4):
        assert_same(alone, epoch_of(everything(records), workers))
    ranks = [epoch_of(everything(records), rank=rank, world_size=2) for rank in range(2)]
    assert not ranks[0].keys() & ranks[1].keys()
    assert_same(alone, ranks[0] | ranks[1])
    all_params = {params for views in alone.values() for _, params in views}
    assert len(all_params) == 18
    assert not all_params & {
        params for views in epoch_of(everything(records), epoch=2).values() for _, params in views
    }


def test_the_views_of_a_video_show_the_same_frames_of_one_decode(records):
    views = train_set(records, num_samples=3)[(4, 0)]
    assert views.clips.shape == (3, 3, 4, 48, 144) and len(set(views.params)) == 3
    assert (views.labels.tolist(), views.videos.tolist()) == ([1] * 3, [4] * 3)
    assert shown(views.clips[0]) == shown(views.clips[1]) == shown(views.clips[2])


def test_the_first_of_several_views_is_that_of_a_single_one(records):
    single, several = everything(records, num_samples=1)[(2, 7)], everything(records)[(2, 7)]
    assert single.params == several.params[:1]
    assert torch.equal(single.clips[0], several.clips[0])


def test_a_mirrored_view_has_the_label_of_the_other_side(records):
    swapped = torch.tensor([0, 2, 1])  # records[4] has label 1
    data = train_set(records, num_samples=4, flipped_labels=swapped)
    seen = set()
    for epoch in range(10):
        views = data[(4, epoch)]
        assert views.labels.tolist() == [2 if params.flip else 1 for params in views.params]
        seen |= set(views.labels.tolist())
    assert seen == {1, 2}


def test_a_replaced_video_is_missed_in_all_its_views(records):
    views = everything([*records, Record("/nowhere.mp4", 0)])[(6, 3)]
    assert [failure.num_views for failure in views.failures] == [3]
    assert len(views.clips) == len(views.params) == 3


def test_an_evaluation_item_holds_all_views_in_order(records):
    two_crops = lambda frames: torch.cat([keep_pixels(frames), keep_pixels(frames) * 0])  # noqa: E731
    views = eval_set(records, transform=two_crops, num_crops=2)[5]
    assert views.clips.shape == (6, 3, 4, 48, 144)
    assert (views.labels.tolist(), views.videos.tolist()) == ([2] * 6, [5] * 6)
    # 45 frames, spans of 8: starts at 0, floor(37 / 2) = 18 and 36.
    assert [shown(view) for view in views.clips[::2]] == [[0, 2, 4, 7], [18, 20, 22, 25], [36, 38, 40, 43]]
    assert not views.clips[1::2].any()


def test_shuffled_frames_are_those_of_the_ordered_clip(records):
    ordered, shuffled = eval_set(records)[0], eval_set(records, shuffle=True)[0]
    for one, other in zip(ordered.clips, shuffled.clips):
        assert sorted(shown(other)) == shown(one)
    assert [shown(v) for v in eval_set(records, shuffle=True)[0].clips] == [shown(v) for v in shuffled.clips]
    assert any(shown(a) != shown(b) for a, b in zip(ordered.clips, shuffled.clips))


def test_training_replaces_what_cannot_be_read_by_a_seeded_other_and_says_so(records):
    broken = [*records, Record("/nowhere.mp4", 0)]
    views = train_set(broken)[(6, 3)]
    assert [failure.path for failure in views.failures] == ["/nowhere.mp4"]
    assert views.videos[0] != 6 and views.labels[0] == broken[int(views.videos[0])].label
    assert torch.equal(views.clips, train_set(broken)[(6, 3)].clips)
    others = {int(train_set(broken)[(6, epoch)].videos[0]) for epoch in range(20)}
    assert len(others) > 1


def test_training_gives_up_when_nothing_can_be_read():
    broken = [Record(f"/nowhere/{n}.mp4", 0) for n in range(3)]
    loader = DataLoader(
        train_set(broken),
        batch_sampler=TrainSampler(
            torch.zeros(3, dtype=torch.int64), batch_size=1, rank=0, world_size=1, seed=0
        ),
        collate_fn=collate,
        num_workers=1,
    )
    with pytest.raises(UserError) as raised:
        next(iter(loader))
    message = str(raised.value)  # out of a worker process, and still one line
    assert (
        message.startswith("100 videos in a row cannot be decoded; the last is /nowhere/")
        and "\n" not in message
    )


def test_evaluation_never_replaces_and_reports_what_is_missing(records):
    broken = [records[0], Record("/nowhere.mp4", 1), records[2]]
    loader = DataLoader(
        eval_set(broken),
        batch_sampler=EvalBatchSampler(3, batch_size=2, rank=0, world_size=1),
        collate_fn=collate,
        num_workers=1,
    )
    batches = list(loader)
    assert [batch.videos.tolist() for batch in batches] == [[0, 0, 0], [2, 2, 2]]
    (failure,) = batches[0].failures
    assert (failure.video, failure.path, failure.num_views) == (1, "/nowhere.mp4", 3)


def test_a_batch_of_nothing_but_failures_is_empty():
    views = collate([eval_set([Record("/nowhere.mp4", 1)])[0]])
    assert len(views.clips) == len(views.videos) == 0
    assert len(views.failures) == 1


def test_a_half_damaged_video_gives_the_views_of_its_whole_half(damaged_video):
    views = eval_set([Record(damaged_video, 0)], num_clips=4)[0]
    (failure,) = views.failures
    assert len(views.clips) + failure.num_views == 4
    assert 1 <= len(views.clips) < 4
    assert shown(views.clips[0]) == [0, 2, 4, 7]


def test_a_record_that_an_epoch_draws_again_gets_another_clip(records):
    dataset = train_set(records)
    views = [dataset[SampleKey(2, 0, repeat)].clips for repeat in (0, 0, 1, 2)]
    assert torch.equal(views[0], views[1])
    assert len({tuple(shown(clip[0])) for clip in views}) == 3
