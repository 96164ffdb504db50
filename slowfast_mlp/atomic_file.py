"""Files that are whole or not there: written under another name beside, and then renamed."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.errors import NO_ROOM, UserError

SUFFIX = ".part"
BESIDE = ".part"  # of a file that is being written
DEVICES = Path("/dev")
MAX_NAME = 40  # letters of the file's own name: with the rest it stays below a file system's 255 bytes


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A name beside `path` to write to; what stands there when the block ends becomes `path`.

    When the block fails nothing stays. The name is hidden, ends in SUFFIX, and no two processes of any two
    machines that share a file system get the same. A device or a pipe (/dev/null, /dev/stdout) is no file to
    be replaced: for one the name is `path` itself.
    """
    path = Path(path)
    if is_outlet(path):
        yield path
        return
    own = f"{socket.gethostname()[:32]}.{os.getpid()}.{secrets.token_hex(4)}"
    beside = path.with_name(f".{path.name[-MAX_NAME:]}.{own}{SUFFIX}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def is_outlet(path: Path) -> bool:
    """Whether what is written to `path` goes elsewhere: renamed over it, a file would take the place of the
    device on the whole machine, where the user may do so.
    """
    is_device = DEVICES in path.absolute().parents  # /dev/stdout may lead to a file, and must stay a link
    return path.exists() and not path.is_dir() and (is_device or not path.is_file())


def write_atomically(path: str, write: Any) -> None:
    """Calls `write(file)` on a binary file beside `path` and renames it to `path` when it is safely on the
    disk. Raises UserError, and leaves the file that was there as it was.
    """
    beside = path + BESIDE
    try:
        with g_pathmgr.open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        local = g_pathmgr.get_local_path(path)
        os.replace(g_pathmgr.get_local_path(beside), local)
        # The new name too must be on the disk before an older file may go.
        where = os.open(os.path.dirname(local) or ".", os.O_RDONLY)
        try:
            os.fsync(where)
        finally:
            os.close(where)
    except (OSError, RuntimeError) as error:  # torch.save answers a full disk with a RuntimeError
        if g_pathmgr.exists(beside):
            g_pathmgr.rm(beside)
        raise not_written(path, error) from error


def not_written(path: str, error: BaseException) -> UserError:
    """What the user is told of a file of the run that could not be written: which, why, and what helps."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__  # torch.save has the disk's own words behind its own
    reason = getattr(cause, "strerror", None) or _first_line(error)
    is_full = cause is None or cause.errno in NO_ROOM
    way_out = "Make room" if is_full else "See to its folder"
    return UserError(
        f"{path} cannot be written ({reason}). {way_out} or choose another folder (OUTPUT_DIR, --out)."
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
