"""Atomic file writing: a file appears whole, under its name, or not at all."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slowfast_mlp.errors import NO_ROOM, UserError, first_line

SUFFIX = ".part"  # of a file that is being written
DEVICES = Path("/dev")
MAX_NAME = 40  # letters kept of the file's own name: the whole stays below a file system's 255 bytes


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; when the block ends, that file replaces `path`.

    File and folder are flushed to the disk. If the block fails, `path` stays as it was and nothing is left.
    The temporary name is hidden, ends in SUFFIX and is unique to the process, also among machines that share
    the file system. A device or a pipe (/dev/null, /dev/stdout) is written to directly.
    """
    path = Path(path)
    if is_device(path):
        yield path
        return
    unique = f"{socket.gethostname()[:32]}.{os.getpid()}.{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.name[-MAX_NAME:]}.{unique}{SUFFIX}")
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, path)
        _flush_to_disk(path.parent)  # an older file may only be deleted once the new name is on the disk
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: str | Path, contents: bytes) -> None:
    """Writes a whole file atomically. Raises UserError."""
    with explain_write_errors(path), atomic_write(path) as temporary:
        temporary.write_bytes(contents)


def clear_leftovers(folder: str | Path) -> None:
    """Deletes the temporary files that a killed process left in a folder."""
    for path in Path(folder).glob(f"*{SUFFIX}"):
        path.unlink(missing_ok=True)


@contextmanager
def explain_write_errors(path: str | Path) -> Iterator[None]:
    """Turns an error of writing `path` into a UserError that names the file, the reason and what helps."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError on a full disk
        raise write_error(path, error) from error


def write_error(path: str | Path, error: BaseException) -> UserError:
    """The UserError for a file of the run that could not be written."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__  # the OSError behind the RuntimeError of torch.save
    reason = getattr(cause, "strerror", None) or first_line(error)
    is_full = cause is None or cause.errno in NO_ROOM
    fix = "Make room" if is_full else "See to its folder"
    return UserError(
        f"{path} cannot be written ({reason}). {fix} or choose another folder (OUTPUT_DIR, --out)."
    )


def is_device(path: Path) -> bool:
    """Whether `path` is a device or a pipe, which a renamed file would replace for the whole machine."""
    in_dev = DEVICES in path.absolute().parents  # /dev/stdout may lead to a file, and must stay a link
    return path.exists() and not path.is_dir() and (in_dev or not path.is_file())


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
