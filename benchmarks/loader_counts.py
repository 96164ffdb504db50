"""What a loader does, counted: the same on every machine, so that tests can hold it."""

from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

from slowfast_mlp.benchmarks import loader_passes, loader_profile
from slowfast_mlp.benchmarks.tables import Table
from slowfast_mlp.data.batch import RawFrames
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.pyav_reader import PyAvReader
from slowfast_mlp.data.video_io.source import open_record


class LoaderCounts(NamedTuple):
    """Frames that a decode put out and that became RGB, and bytes of a clip on the way to the device."""

    decoded: float
    converted: float
    bytes_per_clip: float


def count_loader(
    jobs: Sequence[loader_passes.Job], records: Sequence[Record], mode: str, crop_size: int
) -> LoaderCounts:
    """Means over the jobs, which are dense clips of video files, in AUG.MODE `mode`."""
    num_decoded = num_converted = num_bytes = 0
    videos = loader_passes.train_videos(records, loader_passes.DENSE, mode, crop_size=crop_size)
    for job in jobs:
        with open_record(job.record, "pyav") as video:
            assert isinstance(video, PyAvReader)
            video.read(job.indices)
            num_decoded += video.num_decoded
            num_converted += video.num_converted
        item = videos[job.key]
        pixels = item.frames if isinstance(item, RawFrames) else item.clips
        num_bytes += pixels.nbytes / len(job.params)
    return LoaderCounts(num_decoded / len(jobs), num_converted / len(jobs), num_bytes / len(jobs))


def count_test_decodes(records: Sequence[Record], *, num_clips: int, num_crops: int, crop_size: int) -> float:
    """How often a video is read for all its views."""
    videos = loader_passes.test_videos(records, num_clips=num_clips, num_crops=num_crops, crop_size=crop_size)
    calls = loader_profile.profile(loader_passes.our_test_pass(videos), loader_profile.OURS).calls
    return calls["pyav_reader.py", "read"] / len(records)


def counts_table(
    title: str,
    jobs: Sequence[loader_passes.Job],
    records: Sequence[Record],
    crop_size: int,
    reference: ModuleType,
) -> Table:
    """The counts of every mode next to those of the plain way."""
    spans = [reference.decode_span(job.record.path, job.start, job.span) for job in jobs]
    plain_frames = sum(map(len, spans)) / len(jobs)
    plain_bytes = 4 * 3 * loader_passes.NUM_FRAMES * crop_size**2
    rows: list[tuple] = [("plain way", "-", plain_frames, plain_bytes / 1e6)]
    for mode in ("exact", "fused", "device"):
        counts = count_loader(jobs, records, mode, crop_size)
        rows.append((mode, counts.decoded, counts.converted, counts.bytes_per_clip / 1e6))
    return Table(
        title=f"Counts: {title}",
        note="Frames that one decode puts out and that it converts; its two views share both, and in "
        "the mode `device` the bytes too.",
        columns=("loader", "frames decoded", "frames converted", "MB a clip to the device"),
        rows=rows,
    )
