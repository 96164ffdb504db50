"""The data sets on real files: what an item holds, and what becomes of videos that cannot be read."""

import pytest
import torch
from torch.utils.data import DataLoader

from slowfast_mlp.data.clips import DenseClips
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.samplers import EvalBatchSampler, TrainSampler
from slowfast_mlp.data.video import EvalVideos, TrainVideos, collate_views
from slowfast_mlp.errors import UserError
from tests.conftest import numbers_shown


def clips(**changes):
    settings = dict(num_frames=4, sampling_rate=2, target_fps=30, offset=True, shuffle=False)
    return DenseClips(**{**settings, **changes})


def keep_pixels(frames, generator=None):
    """A transform that changes nothing but the layout, so that a view still shows its frame numbers."""
    return frames.permute(3, 0, 1, 2).unsqueeze(0).float()


def shown(view):
    """The frame numbers of a view [3, T, H, W]."""
    return numbers_shown(view.permute(1, 2, 3, 0))


@pytest.fixture(scope="module")
def records(write_numbered):
    return [Record(write_numbered(f"{n}.mp4", 40 + n), n % 3) for n in range(6)]


def train_set(records, seed=0, **changes):
    return TrainVideos(records, clips=clips(**changes), transform=keep_pixels, decoder="auto", seed=seed)


def eval_set(records, num_clips=3, transform=keep_pixels, num_crops=1, **changes):
    return EvalVideos(
        records,
        clips=clips(**changes),
        num_clips=num_clips,
        num_crops=num_crops,
        transform=transform,
        decoder="auto",
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
        sampler = TrainSampler(6, batch_size=2, rank=0, world_size=1, seed=5)
        sampler.epoch = epoch
        loader = DataLoader(
            train_set(records, seed),
            batch_size=2,
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate_views,
        )
        return {int(v): shown(clip) for views in loader for v, clip in zip(views.videos, views.clips)}

    assert drawn(0, 0, 0) == drawn(0, 0, 2)
    assert drawn(0, 0, 0) != drawn(0, 1, 0)
    assert drawn(0, 0, 0) != drawn(1, 0, 0)


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
        sampler=TrainSampler(3, batch_size=1, rank=0, world_size=1, seed=0),
        collate_fn=collate_views,
        num_workers=1,
    )
    with pytest.raises(UserError) as raised:
        next(iter(loader))
    message = str(raised.value)  # out of a worker process, and still one line
    assert (
        message.startswith("10 videos in a row cannot be decoded; the last is /nowhere/")
        and "\n" not in message
    )


def test_evaluation_never_replaces_and_reports_what_is_missing(records):
    broken = [records[0], Record("/nowhere.mp4", 1), records[2]]
    loader = DataLoader(
        eval_set(broken),
        batch_sampler=EvalBatchSampler(3, batch_size=2, rank=0, world_size=1),
        collate_fn=collate_views,
        num_workers=1,
    )
    batches = list(loader)
    assert [batch.videos.tolist() for batch in batches] == [[0, 0, 0], [2, 2, 2]]
    (failure,) = batches[0].failures
    assert (failure.video, failure.path, failure.num_views) == (1, "/nowhere.mp4", 3)


def test_a_batch_of_nothing_but_failures_is_empty():
    views = collate_views([eval_set([Record("/nowhere.mp4", 1)])[0]])
    assert len(views.clips) == len(views.videos) == 0
    assert len(views.failures) == 1


def test_a_half_damaged_video_gives_the_views_of_its_whole_half(damaged_video):
    views = eval_set([Record(damaged_video, 0)], num_clips=4)[0]
    (failure,) = views.failures
    assert len(views.clips) + failure.num_views == 4
    assert 1 <= len(views.clips) < 4
    assert shown(views.clips[0]) == [0, 2, 4, 7]


def test_a_mirrored_clip_takes_the_label_of_its_mirror_image(records):
    plain = train_set(records)
    swapping = TrainVideos(
        records,
        clips=clips(),
        transform=keep_pixels,
        decoder="auto",
        seed=0,
        flipped_labels=torch.tensor([1, 0, 2]),
    )
    seen = set()
    for epoch in range(20):
        for index, swapped in ((3, 1), (4, 0), (5, 2)):
            before, after = plain[(index, epoch)], swapping[(index, epoch)]
            flipped = torch.equal(after.clips, before.clips.flip(-1))
            assert flipped or torch.equal(after.clips, before.clips)
            assert after.labels.tolist() == ([swapped] if flipped else before.labels.tolist())
            seen.add((index, flipped))
    assert len(seen) == 6
