"""What of an installation works on this machine, and how to mend the rest (tools/doctor.py)."""

import importlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from slowfast_mlp.builders import model, solver
from slowfast_mlp.config import schema
from slowfast_mlp.data.datasets.synthetic import default_cache
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.encode import write_video
from slowfast_mlp.data.video_io.video import open_video
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.engine.metrics import soft_targets
from slowfast_mlp.engine.precision import Precision, has_bf16
from slowfast_mlp.errors import UserError

OK, WARNING, WRONG = "ok", "warning", "wrong"
COLOURS, PLAIN = {OK: "\x1b[32m", WARNING: "\x1b[33m", WRONG: "\x1b[31m"}, "\x1b[0m"
GIB = 2**30
# Package -> the lowest version that was written for, and whether nothing works without it.
PACKAGES = {
    "torch": ((2, 6), True),
    "torchvision": ((0, 21), True),
    "av": ((14,), True),
    "pillow": ((10, 1), True),
    "numpy": ((1, 24), True),
    "fvcore": ((0, 1), True),
    "iopath": ((0, 1), True),
    "tensorboard": ((2,), True),
    "decord": ((0, 6), False),
}
MODULE_OF = {"pillow": "PIL"}
FAST_AV = (17,)  # from here on the reader leaves out pictures that nobody wants
# A checkpoint of MorphMLP-B with its optimiser is 0.8 GB, the rendered videos are 0.1 GB.
LITTLE_DISK, ENOUGH_DISK = 1 * GIB, 20 * GIB
# Clips of 8 workers, two batches each, of 8 clips of 16 x 224 x 224: 0.3 GB. Docker gives 0.06.
LITTLE_SHARED, ENOUGH_SHARED = 0.1 * GIB, 1 * GIB
ENOUGH_FILES = 1024  # a worker holds a descriptor for every batch that is not yet taken
NUM_FRAMES, HEIGHT, WIDTH = 12, 48, 144  # decord misreads frames much narrower


class Finding(NamedTuple):
    """One line: what was looked at, its state, what was seen, and how to mend it where that is needed."""

    what: str
    state: str
    text: str
    mend: str = ""


def examine(output_dir: str) -> Iterator[Finding]:
    """Looks at everything, one finding after the other; some take seconds."""
    yield from _versions()
    devices = _devices()
    yield from (Finding(str(device), OK, text) for device, text in devices.items())
    yield from missing_gpu(
        has_driver=Path("/proc/driver/nvidia/version").exists(),
        sees_gpu=torch.cuda.is_available(),
        cuda=torch.version.cuda,
    )
    yield from _decoders()
    yield from map(_train_step, devices)
    for what, folder in (("output folder", Path(output_dir)), ("cache folder", default_cache())):
        yield _disk(what, folder)
    yield from _shared_memory(Path("/dev/shm"))
    yield from _open_files()


def _versions() -> Iterator[Finding]:
    yield Finding("python", OK, f"{platform.python_version()}, {platform.platform()}")
    try:
        yield Finding("slowfast_mlp", OK, importlib.metadata.version("slowfast_mlp"))
    except importlib.metadata.PackageNotFoundError:
        yield Finding("slowfast_mlp", WARNING, "is not installed", "Run pip install -e . in its folder.")
    for name, (lowest, is_needed) in PACKAGES.items():
        yield package(name, lowest, is_needed=is_needed)


def package(name: str, lowest: tuple[int, ...], *, is_needed: bool) -> Finding:
    """Whether a package is there, new enough, and can be imported."""
    words = ".".join(map(str, lowest))
    state = WRONG if is_needed else WARNING
    others = "" if is_needed else " Without it everything works but DATA.DECODER decord."
    try:
        version = importlib.metadata.version(name)
        importlib.import_module(MODULE_OF.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, state, "is not installed", f"pip install '{name}>={words}'.{others}")
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: torchvision of another torch
        first = (str(error).splitlines() or [type(error).__name__])[0]
        mend = "Reinstall it; torch and torchvision must come from one index (INSTALL.md)."
        return Finding(name, state, f"{version} cannot be imported ({first})", mend + others)
    if numbers(version) < lowest:
        return Finding(name, state, f"{version} is too old", f"pip install '{name}>={words}'.{others}")
    if name == "av" and numbers(version) < FAST_AV:
        return Finding(name, WARNING, f"{version}: reads more than it must", "pip install 'av>=17'.")
    return Finding(name, OK, version)


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (2, 15, 0) of 2.15.0+cu132, (0, 1, 5) of 0.1.5.post2022."""
    found = []
    for part in version.split("+")[0].split("."):
        if not part.isdecimal():
            break
        found.append(int(part))
    return tuple(found)


def _devices() -> dict[torch.device, str]:
    """Every device that torch sees, and what it is."""
    cpu = torch.device("cpu")
    bf16 = "bf16" if has_bf16(cpu) else "no bf16 (TRAIN.PRECISION auto is fp32)"
    name = platform.processor() or platform.machine()
    found = {cpu: f"{name}, {dist.cores_of_process()} cores, {torch.get_num_threads()} threads, {bf16}"}
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        about = torch.cuda.get_device_properties(device)
        bf16 = "bf16" if has_bf16(device) else "no bf16 (TRAIN.PRECISION auto is fp32)"
        found[device] = f"{about.name}, {about.total_memory / GIB:.0f} GiB, CUDA {torch.version.cuda}, {bf16}"
    if torch.backends.mps.is_available():
        found[torch.device("mps")] = "Apple's GPU"
    return found


def missing_gpu(*, has_driver: bool, sees_gpu: bool, cuda: str | None) -> Iterator[Finding]:
    """What is wrong where the machine has an NVIDIA driver and torch, built for `cuda`, sees no GPU."""
    if not has_driver or sees_gpu:
        return
    mend = "This torch has no CUDA: install one that has, by the command of PyTorch's site."
    if cuda:
        mend = (
            f"Update a driver too old for CUDA {cuda}, or install a torch for an older CUDA; see nvidia-smi."
        )
    yield Finding("cuda", WRONG, "there is an NVIDIA driver, but torch sees no GPU", mend)


def _decoders() -> Iterator[Finding]:
    """Writes a video whose frames are grey levels, and reads it with each decoder."""
    levels = torch.arange(NUM_FRAMES, dtype=torch.uint8) * 20
    frames = levels.reshape(-1, 1, 1, 1).expand(-1, HEIGHT, WIDTH, 3).contiguous()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grey.mp4"
        try:
            write_video(path, frames, fps=30, options={"g": "6"})
        except (OSError, ValueError, LookupError) as error:  # LookupError: no h264
            yield Finding("video", WRONG, f"none can be written ({error})", "Reinstall av; free the disk.")
            return
        yield decoder("pyav", str(path), frames, is_needed=True)
        yield decoder("decord", str(path), frames, is_needed=False)


def decoder(name: str, path: str, frames: torch.Tensor, *, is_needed: bool) -> Finding:
    """Whether a decoder gives the frames [T, H, W, 3] that were written, backwards too."""
    what, state = f"decoder {name}", WRONG if is_needed else WARNING
    mend = "Reinstall av: pip install --force-reinstall av" if is_needed else "Use DATA.DECODER pyav."
    order = list(range(len(frames)))[::-1]
    try:
        with open_video(path, name) as video:
            read = video.read(order)
    except (DecodeError, UserError) as error:
        return Finding(what, state, str(error), mend)
    worst = (read.int() - frames[order].int()).abs().max().item()
    if worst > 3:  # of 255, for what the codec loses
        return Finding(what, state, f"gives wrong frames (by {worst} grey levels)", mend)
    return Finding(what, OK, f"{len(frames)} frames of h264, each the right one")


def _train_step(device: torch.device) -> Finding:
    """A step of a tiny model on the device."""
    what = f"train step, {device}"
    section = schema.Model(
        name="morphmlp", variant="Nano", num_classes=4, args={"dims": [8, 16, 32, 64], "drop_path": 0.0}
    )
    try:
        torch.manual_seed(0)
        net = model.model(section, num_frames=4, crop_size=32, test_crop_size=32).to(device).train()
        precision = Precision("auto", device)
        optimizer = solver.optimizer(schema.Solver(base_lr=1e-3), net, shard=False)
        clips = torch.rand(2, 3, 4, 32, 32, device=device)
        with precision.autocast():
            logits = net(clips)
        targets = soft_targets(torch.tensor([0, 1], device=device), 4, 0.0)
        loss = torch.nn.functional.cross_entropy(logits.float(), targets)
        precision.backward(loss)
        norm, _ = precision.step(optimizer, net, None)
        value, norm = loss.item(), norm.item()
    except (
        RuntimeError,
        NotImplementedError,
        ImportError,
        OSError,
    ) as error:  # torch's, of any kernel or library
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return Finding(what, WRONG, first, "Install a torch for this device (INSTALL.md), or use NUM_GPUS 0.")
    if not (torch.tensor([value, norm]).isfinite().all() and norm > 0):
        return Finding(what, WRONG, f"loss {value}, gradient {norm}", "Try TRAIN.PRECISION fp32.")
    return Finding(what, OK, f"{precision.mode}, loss {value:.2f}")


def _disk(what: str, folder: Path) -> Finding:
    """Room on the disk of a folder, or of the nearest one above that exists; whether it can be written to."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        reason = "cannot be written to" if there.is_dir() else "is no folder"
        mend = "Choose another: OUTPUT_DIR, and XDG_CACHE_HOME for the cache."
        return Finding(what, WRONG, f"{folder}: {there} {reason}", mend)
    return space(
        what, str(folder), shutil.disk_usage(there).free, LITTLE_DISK, ENOUGH_DISK, "Make room there."
    )


def _shared_memory(place: Path) -> Iterator[Finding]:
    """What processes that decode hand their clips over in; other systems than Linux set it no limit."""
    if place.is_dir():
        free = shutil.disk_usage(place).free
        mend = "Start the container with --shm-size=8g, or use fewer processes: DATA_LOADER.NUM_WORKERS."
        yield space("shared memory", str(place), free, LITTLE_SHARED, ENOUGH_SHARED, mend)


def space(what: str, place: str, free: float, little: float, enough: float, mend: str) -> Finding:
    """Whether `free` bytes are enough, below which there is a warning, or so little that it is wrong."""
    text = f"{free / GIB:.1f} GiB free in {place}"
    if free >= enough:
        return Finding(what, OK, text)
    return Finding(what, WRONG if free < little else WARNING, text, mend)


def _open_files() -> Iterator[Finding]:
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # Windows has no such limit
        return
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield open_files(limit, None if most == resource.RLIM_INFINITY else most)


def open_files(limit: int, most: int | None) -> Finding:
    """Whether enough files may be open at a time; `most` is how far the user may raise the limit."""
    if limit < 0 or limit >= ENOUGH_FILES:
        return Finding("open files", OK, "no limit" if limit < 0 else f"{limit} allowed")
    reach = "" if most is None or most >= ENOUGH_FILES else f" (more than {most} needs root)"
    return Finding(
        "open files", WARNING, f"{limit} allowed", f"Run ulimit -n {max(ENOUGH_FILES, 4096)}{reach}."
    )


def in_words(finding: Finding, *, colours: bool) -> str:
    """The state, what was looked at and seen; below, how to mend it."""
    state = f"{finding.state:<7}"
    state = f"{COLOURS[finding.state]}{state}{PLAIN}" if colours else state
    mend = f"\n{'':>9}{finding.mend}" if finding.mend else ""
    return f"{state}  {finding.what}: {finding.text}{mend}"


def is_usable(findings: list[Finding]) -> bool:
    """Whether nothing is wrong; warnings do not count."""
    return all(finding.state != WRONG for finding in findings)
