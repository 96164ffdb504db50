"""The list of videos that training leaves out."""

import os
from collections.abc import Iterable, Iterator

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.decode_error import reason_of
from slowfast_mlp.errors import UserError


def read_skip_list(path: str) -> set[str]:
    """The paths of a list, one a line; what stands behind a tab is a remark. Raises UserError.

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
    """Positions of the records that stay, and the paths of `skipped` that left others out.

    A path counts whole, or without `prefix`, as lists have it, however it is spelt (./, .., //, relative;
    links are not followed); a folder of frames by itself, or by the template of its pictures.
    """
    # From here or from `prefix`, as nobody says which is meant.
    spelt: dict[str, set[str]] = {}
    for path in skipped:
        for name in (os.path.abspath(path), os.path.normpath(path)):
            spelt.setdefault(name, set()).add(path)
    start = f"{os.path.abspath(prefix).rstrip('/')}/"
    kept, used = [], set()
    for position, record in enumerate(records):
        found = set().union(*(spelt.get(name, ()) for name in _names_of(record, start)))
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
