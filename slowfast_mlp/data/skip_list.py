"""The list of videos that training leaves out."""

from collections.abc import Sequence

from iopath.common.file_io import g_pathmgr

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
    return {line.split("\t")[0].strip() for line in lines if line.strip()}


def kept_positions(paths: Sequence[str], skipped: set[str], *, prefix: str) -> list[int]:
    """Positions of the paths that stay; `skipped` holds the others whole, or without `prefix` as lists do."""
    start = f"{prefix.rstrip('/')}/"
    return [
        position
        for position, path in enumerate(paths)
        if path not in skipped and path.removeprefix(start) not in skipped
    ]
