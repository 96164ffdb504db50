"""The built-in dataset: short videos of textured shapes. The class of a video is the motion of its shapes.

Every class is another class played backwards (left and right, up and down, two rotations, growing and
shrinking). A frame, or a set of frames without their order, only reveals the pair, so a model must use time.
It is rendered once into a cache folder, as h264 files with Kinetics lists, and then read like Kinetics.
"""

import fcntl
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from slowfast_mlp.data.datasets import kinetics
from slowfast_mlp.data.records import Records
from slowfast_mlp.data.video_io.encode import write_video
from slowfast_mlp.errors import UserError
from slowfast_mlp.seeding import mix_seeds

logger = logging.getLogger(__name__)

SAMPLING = "dense"
SIDES_ARE_CLASSES = True
ARE_PICTURES = False
VERSION = 1  # increment when the videos change: caches of other versions are ignored
CLASSES = ("left", "right", "up", "down", "anticlockwise", "clockwise", "shrinking", "growing")
HEIGHT, WIDTH, NUM_FRAMES, FPS = 72, 96, 32, 30
TEXTURE_SIZE = 48
# Slower presets use lookahead, with which x264 is not deterministic for frames this small.
ENCODER = {"crf": "20", "preset": "ultrafast", "g": "16"}
PROGRESS_PERIOD_SEC = 5.0


def read_records(
    root: str,
    split: str,
    *,
    prefix: str,
    separator: str,
    num_train: int = 1600,
    num_val: int = 80,
    num_test: int = 320,
) -> Records:
    """Records of the split, which is rendered into `root` (default: the user's cache folder) if necessary.

    `prefix` and `separator` are unused: they describe the user's own lists.
    """
    sizes = {"train": num_train, "val": num_val, "test": num_test}
    if min(sizes.values()) < len(CLASSES):
        smallest = min(sizes, key=sizes.get)
        raise UserError(
            f"DATA.ARGS num_{smallest} {sizes[smallest]}: every split needs at least {len(CLASSES)} videos, "
            "one a class."
        )
    folder = ensure_corpus(Path(root) if root else default_cache(), sizes)
    records = kinetics.read_records(str(folder), split, prefix="", separator=" ")
    return Records(records, label_names=CLASSES)


def default_cache() -> Path:
    """The user's cache folder, by the XDG convention."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slowfast_mlp"


def ensure_corpus(cache: Path, sizes: dict[str, int]) -> Path:
    """The folder of the corpus, which is rendered first if it does not exist.

    Safe to call from several processes: one renders, the others wait.
    """
    folder = cache / f"synthetic-v{VERSION}-{'-'.join(map(str, sizes.values()))}"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{folder.name}.lock"):
            if not folder.is_dir():
                _render_into(folder, sizes)
    except OSError as error:
        raise UserError(
            f"The synthetic videos cannot be written to {cache} ({error.strerror or error}). "
            "Set DATA.PATH_TO_DATA_DIR to a folder with room."
        ) from error
    return folder


def _render_into(folder: Path, sizes: dict[str, int]) -> None:
    """Renders into a temporary folder and renames it, so that `folder` is complete if it exists."""
    temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        render_corpus(temporary, sizes)
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def render_corpus(folder: Path, sizes: dict[str, int]) -> None:
    """Writes videos and lists of all splits; the frames are the same on any machine."""
    jobs = []
    for split_number, (split, size) in enumerate(sizes.items()):
        (folder / split).mkdir()
        lines = []
        for index in range(size):
            label = index % len(CLASSES)
            name = f"{split}/{CLASSES[label]}_{index:05d}.mp4"
            lines.append(f"{name} {label}\n")
            jobs.append((folder / name, label, mix_seeds(VERSION, split_number, index)))
        (folder / f"{split}.csv").write_text("".join(lines), encoding="utf-8")
    logger.info("rendering %d synthetic videos into %s (once)", len(jobs), folder.parent)
    last_logged = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for count, _ in enumerate(pool.map(lambda job: _write_one(*job), jobs), start=1):
            if time.monotonic() - last_logged > PROGRESS_PERIOD_SEC:
                last_logged = time.monotonic()
                logger.info("rendered %d of %d", count, len(jobs))


def _write_one(path: Path, label: int, seed: int) -> None:
    write_video(path, render_video(label, seed), fps=FPS, options=ENCODER)


def render_video(label: int, seed: int) -> Tensor:
    """Frames [T, H, W, 3] uint8 of one video of class `label`.

    A pair of classes draws the same forward motion; the first of the pair is then played backwards.
    """
    generator = torch.Generator().manual_seed(seed)
    background = _texture(
        HEIGHT, WIDTH, generator, cells=int(_uniform(2, 5, generator)), contrast=0.4
    )  # 3 H W
    frames = background.expand(NUM_FRAMES, -1, -1, -1)
    for _ in range(1 + int(_uniform(0, 2, generator))):
        pattern = _texture(TEXTURE_SIZE, TEXTURE_SIZE, generator, cells=3, contrast=1.0)
        shape = torch.cat([pattern, _mask(generator)])  # 4 S S
        grid = F.affine_grid(
            _motion(label // 2, generator), [NUM_FRAMES, 4, HEIGHT, WIDTH], align_corners=False
        )
        drawn = F.grid_sample(shape.expand(NUM_FRAMES, -1, -1, -1), grid, align_corners=False)  # T 4 H W
        opacity = drawn[:, 3:]
        frames = frames * (1 - opacity) + drawn[:, :3] * opacity
    frames = (frames.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return frames.flip(0) if label % 2 == 0 else frames


def _motion(pair: int, generator: torch.Generator) -> Tensor:
    """Affine maps [T, 2, 3] from the frame to the shape: 0 right, 1 down, 2 clockwise around the middle, 3
    growing.
    """
    progress = torch.linspace(-0.5, 0.5, NUM_FRAMES) * _uniform(0.5, 1.0, generator)
    still = torch.zeros(NUM_FRAMES)
    x, y = still + _uniform(-0.5, 0.5, generator), still + _uniform(-0.5, 0.5, generator)
    size, angle = still + _uniform(0.5, 0.9, generator), still + _uniform(0, 2 * math.pi, generator)
    if pair == 0:
        x = x + 2 * progress  # half to the whole width
    elif pair == 1:
        y = y + 2 * progress
    elif pair == 2:
        angle = angle + 1.5 * math.pi * progress
        radius = _uniform(0.35, 0.6, generator)
        x, y = 0.2 * x + radius * torch.cos(angle) * HEIGHT / WIDTH, 0.2 * y + radius * torch.sin(angle)
    else:
        size = size * 2 ** (1.6 * progress)
    cos, sin = torch.cos(angle), torch.sin(angle)
    aspect = WIDTH / HEIGHT
    # Frame coordinates, -1 to 1, less the position, with square pixels, turned back, over the size.
    rows = torch.stack(
        [
            torch.stack([cos * aspect, sin, -(cos * aspect * x + sin * y)], dim=-1),
            torch.stack([-sin * aspect, cos, sin * aspect * x - cos * y], dim=-1),
        ],
        dim=1,
    )
    return rows / size.reshape(-1, 1, 1)


def _texture(height: int, width: int, generator: torch.Generator, *, cells: int, contrast: float) -> Tensor:
    """A random pattern [3, H, W] on two scales, around 0.5 and within 0 to 1."""
    coarse = torch.rand(1, 3, cells, cells, generator=generator)
    fine = torch.rand(1, 3, 3 * cells, 3 * cells, generator=generator)
    size = (height, width)
    pattern = F.interpolate(coarse, size, mode="bicubic") + 0.5 * F.interpolate(fine, size, mode="bicubic")
    return ((pattern[0] / 1.5 - 0.5) * contrast + 0.5).clamp(0, 1)


def _mask(generator: torch.Generator) -> Tensor:
    """A random lobed, stretched outline [1, S, S], 1 inside and 0 outside."""
    axis = torch.linspace(-1, 1, TEXTURE_SIZE)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    x, y = x * _uniform(1.0, 2.0, generator), y
    lobes, depth = 1 + int(_uniform(0, 5, generator)), _uniform(0.0, 0.35, generator)
    radius = 0.7 * (1 + depth * torch.cos(lobes * torch.atan2(y, x)))
    return ((radius - (x * x + y * y).sqrt()) * TEXTURE_SIZE / 2).clamp(0, 1).unsqueeze(0)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits until no other process of this machine holds the file."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
