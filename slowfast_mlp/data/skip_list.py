"""The list of videos that training leaves out."""

import os
from collections.abc import Iterable

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.data.records import Record
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
            f"DATA.SKIP_LIST {path!r} cannot be read ({error}). Give a text file with a path on every line."
        ) from error
    paths = (line.split("\t")[0].strip() for line in lines if line.strip())
    return {path.rstrip("/") for path in paths}


def kept_positions(
    records: Iterable[Record], skipped: set[str], *, prefix: str
) -> tuple[list[int], set[str]]:
    """Positions of the records that stay, and the paths of `skipped` that left others out.

    A path counts whole, or without `prefix`, as lists have it; a folder of frames by itself, or by the
    template of its pictures.
    """
    kept, used = [], set()
    for position, record in enumerate(records):
        found = skipped.intersection(_names_of(record, f"{prefix.rstrip('/')}/"))
        used |= found
        if not found:
            kept.append(position)
    return kept, used


def _names_of(record: Record, start: str) -> list[str]:
    names = [record.path, record.path.removeprefix(start)]
    if record.num_frames:
        folder = os.path.dirname(record.first_file)
        names += [folder, folder.removeprefix(start)]
    return names
