"""Counts that hold on every machine: what the loader decodes, converts and sends, and how often it waits."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast_mlp.benchmarks import loader_passes, loader_profile
from slowfast_mlp.benchmarks.host_syncs import count_host_syncs
from slowfast_mlp.benchmarks.load_reference import load_reference
from slowfast_mlp.benchmarks.loader_counts import count_loader, count_test_decodes
from slowfast_mlp.benchmarks.synthetic_videos import SMALL, ensure_corpus, render
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.video import open_video
from slowfast_mlp.errors import UserError
from tests.conftest import ROOT, numbers_shown


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory):
    """A record of every kind of file, as --quick has them."""
    return ensure_corpus(tmp_path_factory.mktemp("benchmark") / "corpus", SMALL)


@pytest.fixture(scope="session")
def plain_way():
    """The plain way to load."""
    return load_reference("loader", folder=ROOT / "benchmarks" / "reference")


def test_a_clip_of_a_file_without_b_frames_decodes_from_the_keyframe_before_to_its_last_frame(write_numbered):
    path = write_numbered("p.mp4", 60, g="12", bf="0", sc_threshold="0")
    with open_video(path, "pyav") as video:
        video.read([26, 30, 34])
        assert (video.num_decoded, video.num_converted) == (34 - 24 + 1, 3)


def test_frames_to_which_none_refers_and_that_are_not_wanted_are_not_decoded(write_numbered):
    path = write_numbered(
        "b.mp4", 60, **{"x264-params": "keyint=60:bframes=3:b-adapt=0:b-pyramid=none:scenecut=0"}
    )
    with open_video(path, "pyav") as video:
        video.read([0, 20])
        # I, then a P at every 4th: 4, 8, 12, 16, 20; the three B between them are left out.
        assert (video.num_decoded, video.num_converted) == (6, 2)


def test_a_frame_that_is_asked_for_twice_is_converted_once(write_numbered):
    with open_video(write_numbered("twice.mp4"), "pyav") as video:
        assert numbers_shown(video.read([5, 5, 7])) == [5, 5, 7]
        assert video.num_converted == 2


@pytest.mark.parametrize("kind", ["gop250", "gop12", "fastdecode"])
def test_a_training_clip_converts_its_16_frames_and_decodes_no_more_than_its_file(small_corpus, kind):
    jobs = loader_passes.make_jobs(small_corpus[kind], loader_passes.DENSE, num_epochs=2, crop_size=32)
    counts = count_loader(jobs, small_corpus[kind], "exact", 32)
    assert counts.converted == 16
    assert 16 <= counts.decoded < 100


def test_the_bytes_of_a_clip_to_the_device_are_those_of_its_pixels(small_corpus):
    jobs = loader_passes.make_jobs(small_corpus["gop12"], loader_passes.DENSE, num_epochs=1, crop_size=32)
    host, device = (count_loader(jobs, small_corpus["gop12"], mode, 32) for mode in ("exact", "device"))
    assert host.bytes_per_clip == 3 * 16 * 32 * 32
    assert device.bytes_per_clip == 3 * 16 * 128 * 170 / 2  # one decode for two views


@pytest.mark.parametrize(("num_clips", "num_crops"), [(4, 1), (1, 3), (2, 3)])
def test_all_views_of_a_test_come_from_one_read(small_corpus, num_clips, num_crops):
    views = dict(num_clips=num_clips, num_crops=num_crops, crop_size=64)
    assert count_test_decodes(small_corpus["gop12"], **views) == 1


def test_the_plain_way_gives_the_frames_of_the_same_numbers(write_numbered, plain_way):
    path = write_numbered("plain.mp4", 90, g="30")
    frames = plain_way.clip(path, start=20.0, span=16.0, num_frames=4)
    assert numbers_shown(frames) == [20, 25, 30, 35]
    assert numbers_shown(plain_way.decode_all(path)) == list(range(90))


def test_the_plain_way_makes_the_same_view_but_for_rounding(small_corpus, plain_way):
    records = small_corpus["jpg"]
    (job,) = loader_passes.make_jobs(records, loader_passes.SEGMENTS, num_epochs=1, crop_size=64)
    plan = replace(job.params[0], ops=(("Invert", 0),), erasure=None)
    plain = plain_way.training_views_from_images(loader_passes.image_paths(job), [plan])
    frames = plain_way.read_images(loader_passes.image_paths(job))
    ours = loader_passes.HOST_MODES["exact"](frames, plan).permute(3, 0, 1, 2).unsqueeze(0)
    assert plain.shape == ours.shape == (1, 3, 16, 64, 64)
    assert ((plain * 0.225 + 0.45) * 255 - ours.float()).abs().max() < 1.01


def test_the_profile_finds_time_in_every_stage_of_training_from_videos(small_corpus):
    records = small_corpus["gop12"]
    jobs = loader_passes.make_jobs(records, loader_passes.DENSE, num_epochs=3, crop_size=64)
    load = loader_passes.our_pass(
        loader_passes.train_videos(records, loader_passes.DENSE, "exact", crop_size=64),
        jobs,
        loader_passes.make_device_transform(torch.device("cpu")),
    )
    profile = loader_profile.profile(load, loader_profile.OURS)
    assert [title for title, seconds in profile.seconds.items() if seconds <= 0] == []
    assert profile.calls["pyav_reader.py", "_pixels"] == 3 * 16
    assert profile.calls["augment.py", "augment_exact"] == 3 * loader_passes.NUM_SAMPLES


def test_the_profile_finds_time_in_every_stage_of_the_plain_way(small_corpus, plain_way):
    jobs = loader_passes.make_jobs(small_corpus["gop12"], loader_passes.DENSE, num_epochs=1, crop_size=64)
    profile = loader_profile.profile(
        loader_passes.reference_pass(plain_way, jobs, loader_passes.DENSE), loader_profile.REFERENCE
    )
    assert [title for title, seconds in profile.seconds.items() if seconds <= 0] == []


def test_the_same_seed_renders_the_same_frames_and_another_seed_others():
    assert torch.equal(render(3, 32, 40, seed=1), render(3, 32, 40, seed=1))
    assert not torch.equal(render(3, 32, 40, seed=1), render(3, 32, 40, seed=2))


def test_a_corpus_that_is_there_is_used_again(small_corpus):
    video = Path(small_corpus["gop12"][0].path)
    written = video.stat().st_mtime_ns
    assert ensure_corpus(video.parents[1], SMALL) == small_corpus
    assert video.stat().st_mtime_ns == written


def test_a_folder_with_other_files_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        ensure_corpus(tmp_path, SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_values_that_python_asks_of_tensors_are_counted_but_not_those_of_the_optimiser():
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(layer.parameters())

    def work():
        loss = layer(torch.ones(1, 2)).sum()
        loss.backward()
        optimizer.step()
        loss.item()
        if loss > 0:
            loss.detach().reshape(1).tolist()
        return float(loss.detach())

    work()
    positive = bool(layer(torch.ones(1, 2)).sum() > 0)
    assert count_host_syncs(work, torch.device("cpu"), optimizer) == (4 if positive else 3)


def test_a_record_of_pictures_names_its_files():
    job = loader_passes.Job(
        key=loader_passes.SampleKey(0, 0),
        record=Record("/a/{:05d}.jpg", 0, 48),
        start=0,
        span=48,
        indices=(0, 3),
        params=(),
    )
    assert loader_passes.image_paths(job) == ["/a/00001.jpg", "/a/00004.jpg"]
