"""A decoder that hangs costs a video and is named. A pipe that nobody writes into blocks whoever opens it."""

import os
import threading

import pytest
import torch
from torch.utils.data import DataLoader

from slowfast_mlp.data.batch import collate
from slowfast_mlp.data.clip_reader import ClipReader
from slowfast_mlp.data.clip_sampling import DenseClipSampler
from slowfast_mlp.data.dataset import EvalVideos, TrainVideos
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.samplers import EvalBatchSampler, TrainSampler
from slowfast_mlp.data.transforms.augment import augment_exact
from slowfast_mlp.data.transforms.augment_params import AugmentSampler
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.timeout import MAX_HANGING, PREFIX, with_timeout
from slowfast_mlp.data.video_io.video import open_video
from slowfast_mlp.errors import UserError

REASON = "reading took longer than DATA.DECODE_TIMEOUT_SEC 0.5"


@pytest.fixture
def pipes(tmp_path):
    """Paths that block when opened; at the end of the test the blocked threads of this process are let go."""
    paths = [str(tmp_path / f"hangs_{n}.mp4") for n in range(MAX_HANGING)]
    for path in paths:
        os.mkfifo(path)
    yield paths
    for path in paths:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # opens both ends: a reader that waits goes on
    for thread in threading.enumerate():
        if thread.name.startswith(PREFIX):
            thread.join(10)
            assert not thread.is_alive()


def reader():
    sampler = DenseClipSampler(num_frames=4, sampling_rate=2, target_fps=30, offset=True, shuffle=False)
    return ClipReader(clip_sampler=sampler, decoder="auto", decode_timeout_sec=0.5)


def keep_pixels(frames):
    return frames.permute(3, 0, 1, 2).unsqueeze(0)


def train_set(records):
    sampler = AugmentSampler(crop_size=16, area=(0.5, 1), aspect=(1, 1), flip=False)
    return TrainVideos(
        records, reader(), augment_sampler=sampler, augment=augment_exact, num_samples=1, seed=0
    )


def test_what_ends_in_time_is_handed_on():
    assert with_timeout(5, "a.mp4", lambda: 7) == 7
    with pytest.raises(DecodeError, match="a.mp4: broken"):
        with_timeout(5, "a.mp4", lambda: (_ for _ in ()).throw(DecodeError("a.mp4", "broken")))
    with pytest.raises(ZeroDivisionError):
        with_timeout(5, "a.mp4", lambda: 1 // 0)


def test_without_a_limit_nothing_leaves_the_thread():
    assert with_timeout(0, "a.mp4", threading.get_ident) == threading.get_ident()
    assert with_timeout(5, "a.mp4", threading.get_ident) != threading.get_ident()


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_a_hung_decoder_is_a_failure_of_its_file(pipes, decoder):
    with pytest.raises(DecodeError, match=f"hangs_0.mp4: {REASON}"):
        with_timeout(0.5, pipes[0], lambda: open_video(pipes[0], decoder))


def test_a_file_that_hangs_is_refused_at_once_the_next_time(pipes):
    """So it costs one thread and one time limit, however often an epoch comes back to it."""
    for reason in (REASON, *["an earlier read of it hangs still"] * MAX_HANGING):
        with pytest.raises(DecodeError, match=f"hangs_0.mp4: {reason}"):
            with_timeout(0.5, pipes[0], lambda: open_video(pipes[0], "pyav"))


def test_many_hung_decoders_are_an_error_that_names_them(pipes):
    for path in pipes[:-1]:
        with pytest.raises(DecodeError, match=path):
            with_timeout(0.1, path, lambda path=path: open_video(path, "pyav"))
    with pytest.raises(UserError, match=r"16 reads hang in one process.*hangs_0.mp4.*hangs_9.mp4"):
        with_timeout(0.1, pipes[-1], lambda: open_video(pipes[-1], "pyav"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_goes_on_after_a_hung_decoder_with_the_same_clips(pipes, write_numbered, num_workers):
    records = [Record(pipes[0], 0), *(Record(write_numbered(f"{n}.mp4"), n) for n in range(1, 4))]

    def epoch(records):
        loader = DataLoader(
            train_set(records),
            batch_sampler=TrainSampler(
                torch.zeros(4, dtype=torch.int64), batch_size=2, rank=0, world_size=1, seed=0
            ),
            num_workers=num_workers,
            collate_fn=collate,
        )
        return list(loader)

    hung, missing = epoch(records), epoch([Record("/nowhere.mp4", 0), *records[1:]])
    failures = [failure for views in hung for failure in views.failures]
    assert {(failure.path, failure.reason) for failure in failures} == {(pipes[0], REASON)}
    for one, other in zip(hung, missing, strict=True):
        assert torch.equal(one.clips, other.clips)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_counts_the_views_of_a_hung_video_as_missing(pipes, write_numbered, num_workers):
    records = [Record(write_numbered("0.mp4"), 0), Record(pipes[0], 1)]
    loader = DataLoader(
        EvalVideos(records, reader(), num_clips=3, num_crops=1, transform=keep_pixels, seed=0),
        batch_sampler=EvalBatchSampler(2, batch_size=2, rank=0, world_size=1),
        num_workers=num_workers,
        collate_fn=collate,
    )
    (views,) = list(loader)
    assert views.videos.tolist() == [0, 0, 0]
    (failure,) = views.failures
    assert (failure.path, failure.reason, failure.num_views) == (pipes[0], REASON, 3)
