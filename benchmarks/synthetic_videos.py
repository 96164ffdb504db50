"""Videos to measure loaders with: as large as those of Kinetics and Something-Something, made from a seed."""

import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from slowfast_mlp.data.records import Record, escape_braces
from slowfast_mlp.data.video_io.encode import write_images, write_video
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

VERSION = 1  # raise it when the pictures or the files change
MANIFEST_NAME = "corpus.json"
NUM_ENCODERS = 2  # at a time; each holds the frames of a video
TEXTURE_CELLS = (4, 12, 40, 120)  # of the textures, coarse to fine
NOISE_STD = 0.02  # deviation of a camera's noise, of 0 to 1; makes files as large as those of Kinetics


@dataclass(frozen=True, kw_only=True)
class CorpusSizes:
    """How many videos of a kind, and how large they are."""

    num_videos: int = 4
    kinetics: tuple[int, int, int] = (300, 256, 340)  # frames, height, width
    something: tuple[int, int, int] = (48, 240, 427)


SMALL = CorpusSizes(num_videos=1, kinetics=(100, 128, 170), something=(24, 120, 214))

KINETICS_FPS, SOMETHING_FPS = 30, 12
# Kind of file -> the encoder's options; all videos of 10 seconds as Kinetics has them.
H264_KINDS = {
    "gop250": {"crf": "23", "g": "250"},
    "gop12": {"crf": "23", "g": "12"},
    "fastdecode": {"crf": "23", "g": "12", "tune": "fastdecode"},
}
VP9 = {"crf": "35", "b": "0", "deadline": "good", "cpu-used": "5", "g": "128"}
KINDS = (*H264_KINDS, "webm", "jpg")


def ensure_corpus(folder: Path, sizes: CorpusSizes) -> dict[str, list[Record]]:
    """The records of every kind in the folder, which is filled first if it is empty or not there.

    Raises UserError for a folder that holds something else.
    """
    manifest = json.dumps({"version": VERSION, "sizes": repr(sizes)})
    manifest_path = folder / MANIFEST_NAME
    if not manifest_path.is_file() or manifest_path.read_text(encoding="utf-8") != manifest:
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"--corpus {folder} holds other files, or the videos of another version or of --quick; give "
                "an empty folder."
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        temp_dir = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
        try:
            _make_videos(temp_dir, sizes)
            (temp_dir / MANIFEST_NAME).write_text(manifest, encoding="utf-8")
            if folder.is_dir():
                folder.rmdir()
            temp_dir.rename(folder)
        finally:
            shutil.rmtree(temp_dir, ignore_errors=True)
    return {kind: _records(folder / kind, kind, sizes) for kind in KINDS}


def render(num_frames: int, height: int, width: int, seed: int) -> Tensor:
    """Frames [T, H, W, 3] uint8 of a textured scene that a camera pans over while things cross it, with the
    camera's noise.
    """
    generator = torch.Generator().manual_seed(seed)
    scene = _texture(2 * height, 2 * width, generator)
    things = [_texture(height // 3, width // 4, generator) for _ in range(3)]
    speeds = torch.rand(4, 2, generator=generator) * 2 - 1  # of the camera, and of the things
    frames = torch.empty(num_frames, height, width, 3, dtype=torch.uint8)
    for number in range(num_frames):
        # Twice across in ten seconds, slowing down at both ends as a hand does.
        progress = torch.sin(speeds * number * 0.03) * 0.5 + 0.5  # 4 2, of 0 to 1
        top, left = (progress[0] * torch.tensor([height, width])).long().tolist()
        frame = scene[:, top : top + height, left : left + width].clone()
        for thing, (y, x) in zip(things, progress[1:].tolist()):
            rows, columns = thing.shape[1:]
            top, left = int(y * (height - rows)), int(x * (width - columns))
            frame[:, top : top + rows, left : left + columns] = thing
        frame += NOISE_STD * torch.randn(1, height, width, generator=generator)
        frames[number] = (frame.clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0)
    return frames


def _texture(height: int, width: int, generator: torch.Generator) -> Tensor:
    """A pattern [3, H, W] on several scales, each with half of the contrast of the one before."""
    pattern = torch.zeros(3, height, width)
    for octave, cells in enumerate(TEXTURE_CELLS):
        coarse = torch.rand(1, 3, cells, cells, generator=generator)
        pattern += F.interpolate(coarse, (height, width), mode="bicubic")[0] / 2 ** (octave + 1)
    return pattern.clamp(0, 1)


def _make_videos(folder: Path, sizes: CorpusSizes) -> None:
    logger.info("making the benchmark's videos (a minute or two)")
    for kind in KINDS:
        (folder / kind).mkdir()
    jobs = []
    for number in range(sizes.num_videos):
        jobs += [
            partial(_write_kinetics, folder, number, sizes),
            partial(_write_something, folder, number, sizes),
        ]
    with ThreadPoolExecutor(NUM_ENCODERS) as pool:
        for job in [pool.submit(job) for job in jobs]:
            job.result()


def _write_kinetics(folder: Path, number: int, sizes: CorpusSizes) -> None:
    frames = render(*sizes.kinetics, seed=number)
    for kind, options in H264_KINDS.items():
        write_video(folder / kind / f"{number}.mp4", frames, fps=KINETICS_FPS, options=options)


def _write_something(folder: Path, number: int, sizes: CorpusSizes) -> None:
    num_frames, height, width = sizes.something
    frames = render(num_frames, height, width, seed=1000 + number)
    even = frames[:, :, : width // 2 * 2]
    write_video(folder / "webm" / f"{number}.webm", even, fps=SOMETHING_FPS, options=VP9, codec="libvpx-vp9")
    (folder / "jpg" / str(number)).mkdir()
    write_images(str(folder / "jpg" / str(number) / "{:05d}.jpg"), frames)


def _records(folder: Path, kind: str, sizes: CorpusSizes) -> list[Record]:
    """Of one kind; labels are of no interest."""
    if kind == "jpg":
        templates = [escape_braces(str(folder / str(number))) for number in range(sizes.num_videos)]
        return [Record(f"{path}/{{:05d}}.jpg", 0, sizes.something[0]) for path in templates]
    suffix = "webm" if kind == "webm" else "mp4"
    return [Record(str(folder / f"{number}.{suffix}"), 0) for number in range(sizes.num_videos)]


def mean_size_kib(records: Sequence[Record]) -> float:
    """The mean size of a record's files."""
    paths = [
        [Path(record.path.format(number)) for number in range(1, record.num_frames + 1)]
        if record.num_frames
        else [Path(record.path)]
        for record in records
    ]
    return sum(path.stat().st_size for files in paths for path in files) / len(records) / 1024
