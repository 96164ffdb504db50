"""Two thousand clips in one process: neither memory nor open files grow."""

import os
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from slowfast_mlp.data import tar_files
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.timeout import with_timeout
from slowfast_mlp.data.video_io.video import open_video

NUM_CLIPS = 2000
WARM_UP = 400  # clips until caches and pools are full
# A reader holds about 2 MB; a leak of any part of it, once a clip, is far above.
MAX_GROWTH_MB = 30
MAX_BYTES_A_CLIP = 16384  # a frame has 20 KiB; threads that come and go leave some of their arenas behind
MAX_FILES_ON_THEIR_WAY = 8  # a worker shares every batch that it sends as a file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def memory_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def num_open_files():
    return len(os.listdir("/proc/self/fd"))


class Usage(Dataset):
    """Reads a clip of one of the videos, of which one is damaged; an item is (memory, open files)."""

    def __init__(self, paths, decoder):
        self.paths = paths
        self.decoder = decoder

    def __len__(self):
        return NUM_CLIPS

    def __getitem__(self, index):
        path = self.paths[index % len(self.paths)]

        def read():
            with open_video(path, self.decoder) as video:
                start = index % (video.num_frames - 8)
                return video.read(range(start, start + 8, 2))

        try:
            assert with_timeout(60, path, read).shape == (4, 48, 144, 3)
            assert "damaged" not in path
        except DecodeError:
            assert "damaged" in path
        return torch.tensor([memory_bytes(), num_open_files()])


@pytest.fixture(scope="module")
def paths(write_numbered, tmp_path_factory):
    """An mp4, a webm, an mp4 in a shard, and one that is cut off."""
    whole = write_numbered("whole.mp4", 40)
    folder = tmp_path_factory.mktemp("soak")
    tar_files.write_shard(folder / "shard.tar", [("inside.mp4", whole)])
    damaged = folder / "damaged.mp4"
    damaged.write_bytes(Path(whole).read_bytes()[:2000])
    webm = write_numbered("film.webm", 30, codec="libvpx-vp9", deadline="realtime", **{"cpu-used": "8"})
    return [whole, webm, f"{folder}/shard.tar/inside.mp4", str(damaged)]


@pytest.mark.parametrize(("decoder", "num_workers"), [("pyav", 0), ("pyav", 1), ("decord", 0)])
def test_memory_and_open_files_stay_flat(paths, decoder, num_workers):
    usage = torch.cat(list(DataLoader(Usage(paths, decoder), batch_size=50, num_workers=num_workers)))
    memory, files = usage[WARM_UP:].double().unbind(dim=1)
    assert len(usage) == NUM_CLIPS
    assert files.max() <= usage[:WARM_UP, 1].max() + MAX_FILES_ON_THEIR_WAY
    clips = torch.arange(len(memory), dtype=torch.float64)
    centred = clips - clips.mean()
    bytes_a_clip = ((centred * (memory - memory.mean())).sum() / centred.square().sum()).item()
    assert bytes_a_clip < MAX_BYTES_A_CLIP, f"{bytes_a_clip:.0f} bytes a clip are not given back"
    assert memory[-200:].mean() - memory[:200].mean() < MAX_GROWTH_MB * 2**20
