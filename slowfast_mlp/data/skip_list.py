"""The list of videos to exclude from training."""

import os
from collections.abc import Iterable, Iterator

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.decode_error import reason_of
from slowfast_mlp.errors import UserError


def read_skip_list(path: str) -> set[str]:
    """Reads one path per line; text after a tab is a comment. Raises UserError.

    failed_train_videos.txt and failed_videos.txt are such lists.
    """
    try:
        with g_pathmgr.open(path, "r", encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"DATA.SKIP_LIST {path!r} cannot be read ({reason_of(error)}). Give a text file with a path on "
            "every line."
        ) from error
    return {line.split("\t")[0].strip() for line in lines if line.strip()}


def kept_positions(
    records: Iterable[Record], skipped: set[str], *, prefix: str
) -> tuple[list[int], set[str]]:
    """Positions of the records to keep, and the paths of `skipped` that excluded others.

    A path matches in full, or without `prefix` as in lists, after normalization (./, .., //, relative; links
    are not followed). A folder of frames matches by its path or by the template of its images.
    """
    # Relative paths may start from the working directory or from `prefix`.
    paths_by_name: dict[str, set[str]] = {}
    for path in skipped:
        for name in (os.path.abspath(path), os.path.normpath(path)):
            paths_by_name.setdefault(name, set()).add(path)
    start = f"{os.path.abspath(prefix).rstrip('/')}/"
    kept, used = [], set()
    for position, record in enumerate(records):
        found = set().union(*(paths_by_name.get(name, ()) for name in _names_of(record, start)))
        used |= found
        if not found:
            kept.append(position)
    return kept, used


def _names_of(record: Record, start: str) -> Iterator[str]:
    paths = [record.path, os.path.dirname(record.first_file)] if record.num_frames else [record.path]
    for path in map(os.path.abspath, paths):
        yield path
        if path.startswith(start):
            yield path.removeprefix(start)
