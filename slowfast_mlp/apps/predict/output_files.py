"""The files that tools/predict.py writes for every source."""

import os
from collections.abc import Collection, Sequence
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from slowfast_mlp.apps.predict.inputs import display_path
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.stream import Stream
from slowfast_mlp.errors import UserError

Source = Record | Stream


class OutputPaths(NamedTuple):
    """The files to write for one source."""

    video: Path | None
    timeline: Path | None
    segments: Path | None


def output_files(
    path: Path | None, sources: Sequence[Source], suffix: str, *, endings: Collection[str] = ()
) -> list[Path | None]:
    """The file for every source: `path` itself for a single one, unless it is a folder; else files in the
    folder `path`, named after the sources and ending in `suffix`. Raises UserError where the folder is
    missing, `path` has none of the `endings`, if there are any, or a file would take the place of a source:
    known now, not after hours.
    """
    if path is None:
        return [None] * len(sources)
    if len(sources) == 1 and not path.is_dir():
        if not path.parent.is_dir():
            raise UserError(f"{path} cannot be written: there is no folder {path.parent}.")
        if endings and path.suffix.lower() not in endings:
            raise UserError(f"{path} cannot be written: its ending names no known form. End it in {suffix}.")
        files = [path]
    elif not path.is_dir():
        raise UserError(f"{path} must be a folder that exists: there are {len(sources)} videos to write.")
    else:
        files = [path / f"{name}{suffix}" for name in _unique_names(sources)]
    read = {os.path.realpath(source.path) for source in sources}
    if lost := [file for file in files if os.path.realpath(file) in read]:
        raise UserError(f"{lost[0]} is one of the videos, which would be lost. Name another file or folder.")
    return files


def _unique_names(sources: Sequence[Source]) -> list[str]:
    """A name for every source, without ending: its own; of equal ones the others are numbered."""
    names: dict[str, None] = {}
    for source in sources:
        stem = Path(display_path(source)).stem or "stream"
        numbered = (f"{stem}_{number}" for number in count(2))
        names[next(name for name in chain([stem], numbered) if name not in names)] = None
    return list(names)
