"""The embedded corpus: rendered once, whole or not at all, and of motions that only time tells apart."""

import multiprocessing
from pathlib import Path

import pytest
import torch

from slowfast_mlp.data.datasets import synthetic
from slowfast_mlp.data.video_io.video import open_video
from slowfast_mlp.errors import UserError

SIZES = dict(num_train=16, num_val=8, num_test=8)


def read(root, split="train", **sizes):
    return synthetic.read_records(str(root), split, prefix="", separator=" ", **{**SIZES, **sizes})


def test_the_splits_are_kinetics_lists_of_h264_files_with_every_class(tmp_path):
    records = read(tmp_path)
    assert [record.label for record in records] == [*range(8), *range(8)]
    with open_video(records[3].path, "auto") as video:
        assert (video.num_frames, video.fps) == (32, 30)
        assert video.read([0]).shape == (1, 72, 96, 3)
    assert len(read(tmp_path, "val")) == len(read(tmp_path, "test")) == 8
    assert {r.path for r in read(tmp_path, "test")}.isdisjoint(r.path for r in records)


def test_a_second_run_renders_nothing(tmp_path):
    first = {record.path: Path(record.path).stat().st_mtime_ns for record in read(tmp_path)}
    assert {record.path: Path(record.path).stat().st_mtime_ns for record in read(tmp_path)} == first


def test_the_same_corpus_is_rendered_anywhere(tmp_path):
    one, other = (read(tmp_path / name, num_train=8) for name in ("one", "other"))
    assert [Path(r.path).read_bytes() for r in one] == [Path(r.path).read_bytes() for r in other]


def _read_in_process(root, results):
    results.put([record.path for record in read(root)])


def test_two_runs_that_start_together_share_one_corpus(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    processes = [context.Process(target=_read_in_process, args=(tmp_path, results)) for _ in range(2)]
    for process in processes:
        process.start()
    assert results.get() == results.get()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    folders = [path.name for path in tmp_path.iterdir() if path.is_dir()]
    assert folders == ["synthetic-v1-16-8-8"]


def test_an_interrupted_rendering_leaves_no_corpus(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "write_video", fail)
        with pytest.raises(UserError, match=rf"cannot be written to {tmp_path} \(No space left on device\)"):
            read(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(read(tmp_path)) == 16


@pytest.mark.parametrize("pair", range(4))
def test_a_class_is_its_partner_played_backwards(pair):
    for seed in range(3):
        backward, forward = synthetic.render_video(2 * pair, seed), synthetic.render_video(2 * pair + 1, seed)
        assert torch.equal(backward.flip(0), forward)
        assert not torch.equal(backward, forward)


def test_motions_are_what_their_names_say():
    def centres(label):
        """Mean position of what differs from the background, of a video with one shape. [T, 2] as y, x."""
        for seed in range(100):
            frames = synthetic.render_video(label, seed).float()
            background = frames.median(dim=0).values
            moving = (frames - background).abs().sum(-1) > 60  # T H W
            if moving.flatten(1).sum(1).min() > 40:
                y, x = torch.meshgrid(torch.arange(72.0), torch.arange(96.0), indexing="ij")
                weight = moving.float() / moving.flatten(1).sum(1).reshape(-1, 1, 1)
                return torch.stack([(weight * y).sum((1, 2)), (weight * x).sum((1, 2))], dim=1)
        raise AssertionError("no clear video")

    (dy, dx) = centres(synthetic.CLASSES.index("right"))[[0, -1]].diff(dim=0)[0]
    assert dx > 10 and dx > 2 * abs(dy)
    (dy, dx) = centres(synthetic.CLASSES.index("down"))[[0, -1]].diff(dim=0)[0]
    assert dy > 10 and dy > 2 * abs(dx)
    path = centres(synthetic.CLASSES.index("clockwise"))
    path = path - path.mean(dim=0)
    # y points down, so a positive cross product of successive positions is a clockwise turn.
    turn = (path[:-1, 1] * path[1:, 0] - path[:-1, 0] * path[1:, 1]).sum()
    assert turn > 0


def test_too_few_videos_for_the_classes_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"DATA.ARGS num_val 7: every split needs at least 8"):
        read(tmp_path, num_val=7)


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert synthetic.default_cache() == tmp_path / "slowfast_mlp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert synthetic.default_cache() == Path.home() / ".cache" / "slowfast_mlp"
