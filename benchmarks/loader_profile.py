"""Where a loader's time goes: the processor's time inside functions, by a profile of the loader as it is."""

import cProfile
import pstats
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Name = tuple[str, str]  # of a file, without folders, and of a function in it


@dataclass(frozen=True)
class Stage:
    """The time in some functions, less that in others which they call."""

    functions: tuple[Name, ...]
    without: tuple[Name, ...] = ()


_PIXELS = (("pyav_reader.py", "_pixels"), ("pyav_reader.py", "put"))
_AUGMENT = (("augment.py", "augment_exact"), ("augment.py", "augment_fused"))
_FINISH = (("augment.py", "_resize_and_flip"),)
REST = "rest"
OURS = {
    "open, index": Stage((("video.py", "_open_with_pyav"),)),
    "seek, decode": Stage((("pyav_reader.py", "read"), ("source.py", "_read_one")), _PIXELS),
    "convert": Stage(_PIXELS),
    "augment": Stage(_AUGMENT, _FINISH),
    "crop, resize, flip": Stage(_FINISH),
    "collate": Stage((("batch.py", "collate"),)),
    "to input": Stage((("device_transform.py", "__call__"),), (("device_transform.py", "augment_frames"),)),
}
_OPEN = (("loader.py", "open_container"),)
PLAIN = {
    "open, index": Stage(_OPEN),
    "seek, decode": Stage((("loader.py", "decode_span"), ("loader.py", "read_pictures")), _OPEN),
    "convert": Stage((("loader.py", "to_rgb"), ("loader.py", "stack"))),
    "augment": Stage(tuple(("loader.py", name) for name in ("to_images", "randaugmented", "from_images"))),
    "crop, resize, flip": Stage((("loader.py", "crop_and_flip"),)),
    "collate": Stage((("loader.py", "collate"),)),
    # It normalises and erases on the host, which we do on the device.
    "to input": Stage((("loader.py", "normalised"), ("loader.py", "erase"))),
}


@dataclass(frozen=True)
class Profile:
    """Seconds of the processor in every stage, the rest included, and how often each function was called."""

    seconds: dict[str, float]
    calls: dict[Name, int]


def profile(work: Callable[[], object], stages: Mapping[str, Stage]) -> Profile:
    """The profile of one call. It slows small functions down: take shares from it, and the whole from
    elsewhere.
    """
    # Without built-in functions, which Pillow calls a thousand times for a picture.
    profiler = cProfile.Profile(time.process_time, builtins=False)
    profiler.runcall(work)
    stats = pstats.Stats(profiler)
    inside: dict[Name, float] = {}
    calls: dict[Name, int] = {}
    for (file, _, function), (_, num_calls, _, cumulative, _) in stats.stats.items():
        name = (Path(file).name, function)
        inside[name] = inside.get(name, 0.0) + cumulative
        calls[name] = calls.get(name, 0) + num_calls
    seconds = {title: _seconds(stage, inside) for title, stage in stages.items()}
    seconds[REST] = stats.total_tt - sum(seconds.values())
    return Profile(seconds, calls)


def _seconds(stage: Stage, inside: Mapping[Name, float]) -> float:
    taken = sum(inside.get(name, 0.0) for name in stage.functions)
    # What is taken away may also be called from elsewhere, when none of the stage's own functions is.
    return max(0.0, taken - sum(inside.get(name, 0.0) for name in stage.without)) if taken else 0.0
