"""What the official annotations of data sets have in common: finding their files, and writing lists."""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slowfast_mlp.atomic_file import atomic_write
from slowfast_mlp.data.annotations import VIDEO_SUFFIXES
from slowfast_mlp.errors import UserError

MISSING_NAME = "missing.txt"


@dataclass
class PrepareResult:
    """What was written: lines for the reader, what was left out and why, and the settings for a run."""

    messages: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


def check_folder(path: Path, flag: str) -> None:
    """Raises UserError unless there is such a folder."""
    if not path.is_dir():
        raise UserError(f"{flag} {path}: there is no such folder.")


def check_not_overwritten(sources: Iterable[Path], out: Path, written: Collection[str]) -> None:
    """Refuses to write lists, of these names in `out`, over the files that they are made of. Raises
    UserError.
    """
    for source in sources:
        target = out / source.name
        if source.name in written and target.exists() and target.samefile(source):
            raise UserError(f"{source} would be written over by our list of that name: choose another --out.")


def find_annotation(folder: Path, names: Sequence[str]) -> Path:
    """The first of `names` that the folder of the annotations holds. Raises UserError."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"--annotations {folder} has no {' and no '.join(names)}: give the folder of the official files."
    )


def read_text(path: Path) -> str:
    """The text of a file in UTF-8. Raises UserError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8 ({error.reason}); fetch it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error


def index_videos(folder: Path) -> dict[str, list[str]]:
    """The videos under a folder, however deep, sorted: name without ending -> paths from the folder."""
    found: dict[str, list[str]] = {}
    for place, _, names in os.walk(folder, followlinks=True):
        for name in names:
            stem, ending = os.path.splitext(name)
            if ending.lower() in VIDEO_SUFFIXES and not name.startswith("."):
                found.setdefault(stem, []).append(os.path.relpath(os.path.join(place, name), folder))
    return {stem: sorted(paths) for stem, paths in found.items()}


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a text file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def settings_without_lists(splits: Collection[str]) -> dict[str, Any]:
    """What a run must be told where there are only lists of `splits`; without test the test reads val."""
    settings: dict[str, Any] = {}
    if "train" not in splits:
        settings["TRAIN.ENABLE"] = False
    elif "val" not in splits:
        settings["TRAIN.EVAL_PERIOD"] = 0
    if not {"val", "test"} & set(splits):
        settings["TEST.ENABLE"] = False
    return settings


def write_missing(out: Path, prepared: PrepareResult) -> None:
    """Lists what was left out, with the reasons, and says how many; removes the list of an earlier run."""
    path = out / MISSING_NAME
    if prepared.left_out:
        write_lines(path, prepared.left_out)
        prepared.messages.append(f"left out: {len(prepared.left_out)}, listed with the reasons in {path}")
    else:
        path.unlink(missing_ok=True)
