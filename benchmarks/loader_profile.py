"""Where a loader's time goes: the processor's time inside functions, by a profile of the loader as it is."""

import cProfile
import pstats
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

FunctionName = tuple[str, str]  # of a file, without folders, and of a function in it


@dataclass(frozen=True)
class ProfileStage:
    """The time in some functions, less that in others which they call."""

    functions: tuple[FunctionName, ...]
    excluded: tuple[FunctionName, ...] = ()


_PIXELS = (("pyav_reader.py", "_pixels"), ("pyav_reader.py", "put"))
_AUGMENT = (("augment.py", "augment_exact"), ("augment.py", "augment_fused"))
_FINISH = (("augment.py", "_resize_and_flip"),)
REST = "rest"
OURS = {
    "open, index": ProfileStage((("video.py", "_open_with_pyav"),)),
    "seek, decode": ProfileStage((("pyav_reader.py", "read"), ("source.py", "_read_one")), _PIXELS),
    "convert": ProfileStage(_PIXELS),
    "augment": ProfileStage(_AUGMENT, _FINISH),
    "crop, resize, flip": ProfileStage(_FINISH),
    "collate": ProfileStage((("batch.py", "collate"),)),
    "to input": ProfileStage(
        (("device_transform.py", "__call__"),), (("device_transform.py", "augment_frames"),)
    ),
}
_OPEN = (("loader.py", "open_container"),)
REFERENCE = {
    "open, index": ProfileStage(_OPEN),
    "seek, decode": ProfileStage((("loader.py", "decode_span"), ("loader.py", "read_images")), _OPEN),
    "convert": ProfileStage((("loader.py", "to_rgb"), ("loader.py", "stack"))),
    "augment": ProfileStage(
        tuple(("loader.py", name) for name in ("to_images", "apply_randaugment", "from_images"))
    ),
    "crop, resize, flip": ProfileStage((("loader.py", "crop_and_flip"),)),
    "collate": ProfileStage((("loader.py", "collate"),)),
    # It normalises and erases on the host, which we do on the device.
    "to input": ProfileStage((("loader.py", "normalize"), ("loader.py", "erase"))),
}


@dataclass(frozen=True)
class Profile:
    """Seconds of the processor in every stage, the rest included, and how often each function was called."""

    seconds: dict[str, float]
    calls: dict[FunctionName, int]


def profile(work: Callable[[], object], stages: Mapping[str, ProfileStage]) -> Profile:
    """The profile of one call. It slows small functions down: take shares from it, and the whole from
    elsewhere.
    """
    # Without built-in functions, which Pillow calls a thousand times for a picture.
    profiler = cProfile.Profile(time.process_time, builtins=False)
    profiler.runcall(work)
    stats = pstats.Stats(profiler)
    cumulative_sec: dict[FunctionName, float] = {}
    calls: dict[FunctionName, int] = {}
    for (file, _, function), (_, num_calls, _, cumulative, _) in stats.stats.items():
        name = (Path(file).name, function)
        cumulative_sec[name] = cumulative_sec.get(name, 0.0) + cumulative
        calls[name] = calls.get(name, 0) + num_calls
    seconds = {title: _seconds(stage, cumulative_sec) for title, stage in stages.items()}
    seconds[REST] = stats.total_tt - sum(seconds.values())
    return Profile(seconds, calls)


def _seconds(stage: ProfileStage, cumulative_sec: Mapping[FunctionName, float]) -> float:
    taken = sum(cumulative_sec.get(name, 0.0) for name in stage.functions)
    # What is taken away may also be called from elsewhere, when none of the stage's own functions is.
    return max(0.0, taken - sum(cumulative_sec.get(name, 0.0) for name in stage.excluded)) if taken else 0.0
