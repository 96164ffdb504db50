"""Videos and pictures that lie in tar files, many in each: for file systems that suffer from small files.

A path leads into the tar as into a folder: `/data/shard-00000.tar/abc.mp4`. Beside the tar stands its index,
`shard-00000.tar.index`: a line a member with its name, the offset of its first byte and its size, tabs
between. An index that is missing or older than the tar is made again by reading the headers of the tar.
"""

import io
import logging
import os
import tarfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from iopath.common.file_io import g_pathmgr

logger = logging.getLogger(__name__)

INDEX_SUFFIX = ".index"
# Indexes that a process keeps, as text of about 50 bytes a member: 256 shards of 1,000 members are 13 MB.
MAX_KEPT = 256


class Member(NamedTuple):
    """A file in a tar on this machine's disk: `size` bytes from `offset`."""

    tar: str
    offset: int
    size: int


def split_path(path: str) -> tuple[str, str] | None:
    """The tar and the name inside it; None for a path that leads through no tar."""
    tar, found, name = path.partition(".tar/")
    return (f"{tar}.tar", name) if found and name else None


def is_member(path: str) -> bool:
    """Whether a path leads into a tar, and not through a folder that is called like one."""
    parts = split_path(path)
    return parts is not None and not g_pathmgr.isdir(parts[0])


def find_member(path: str) -> Member:
    """Where the file of a path into a tar lies. Raises OSError when the tar or the member is missing."""
    tar, name = split_path(path)
    local = g_pathmgr.get_local_path(tar)
    stat = os.stat(local)
    index = _kept_index(local, stat.st_size, stat.st_mtime_ns)
    line = index.find(f"\n{name}\t".encode()) + 1
    if not line:
        raise FileNotFoundError(2, f"{tar} has no member {name!r}", path)
    offset, size = index[line : index.index(b"\n", line)].rsplit(b"\t", 2)[1:]
    return Member(local, int(offset), int(size))


def read_file(path: str) -> bytes:
    """The contents of a file, in a tar or by itself. Raises OSError."""
    if is_member(path):
        return read_member(path)
    with g_pathmgr.open(path, "rb") as file:
        return file.read()


def ffmpeg_url(path: str) -> str:
    """What FFmpeg opens to read a file, in a tar or by itself. Raises OSError."""
    if not is_member(path):
        return f"file:{g_pathmgr.get_local_path(path)}"  # a colon in the name is no protocol
    member = find_member(path)
    # FFmpeg reads the member where it lies.
    return f"subfile,,start,{member.offset},end,{member.offset + member.size},,:{member.tar}"


def read_member(path: str) -> bytes:
    """The contents of the file of a path into a tar. Raises OSError."""
    member = find_member(path)
    with open(member.tar, "rb") as file:
        file.seek(member.offset)
        contents = file.read(member.size)
    if len(contents) < member.size:
        raise OSError(5, f"{member.tar} is cut off", path)
    return contents


def exists(path: str) -> bool:
    """Whether there is such a file, in a tar or by itself."""
    if not is_member(path):
        return g_pathmgr.exists(path)
    try:
        find_member(path)
    except OSError:
        return False
    return True


def write_shard(path: str | Path, files: Iterable[tuple[str, str | Path | bytes]]) -> None:
    """Writes a tar of (name inside it, file or contents) and its index, each beside and then renamed."""
    beside = f"{path}.{os.getpid()}.part"
    try:
        with tarfile.open(beside, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, source in files:
                _check_name(name)
                contents = source if isinstance(source, bytes) else Path(source).read_bytes()
                header = tarfile.TarInfo(name)
                header.size = len(contents)
                tar.addfile(header, io.BytesIO(contents))
        index = _scan(beside)
        os.replace(beside, path)
        _write_index(str(path), index)
    finally:
        Path(beside).unlink(missing_ok=True)


@lru_cache(maxsize=MAX_KEPT)
def _kept_index(tar: str, size: int, changed_ns: int) -> bytes:
    """The index of a tar, which is asked for anew when the tar's size or time changes.

    As text between line ends: a dictionary of strings would be ten times as large, in every worker.
    """
    path = Path(tar + INDEX_SUFFIX)
    if path.is_file() and path.stat().st_mtime_ns >= changed_ns:
        index = b"\n" + path.read_bytes()
        if _last_byte(index, path) <= size:
            return index
        logger.warning("%s does not fit its tar, and is made again", path)
    else:
        logger.warning("%s is missing or older than its tar, and is made again", path)
    index = _scan(tar)
    try:
        _write_index(tar, index)
    except OSError as error:
        logger.warning("%s cannot be written (%s): every process has to scan the tar", path, error.strerror)
    return b"\n" + index


def _scan(tar: str) -> bytes:
    """The lines of the index, from the headers of the tar."""
    lines = []
    try:
        with tarfile.open(tar, "r:") as file:
            for member in file:
                if member.isreg() and not member.issparse():
                    name = member.name.removeprefix("./")  # as `tar -cf shard.tar .` writes it
                    _check_name(name)
                    lines.append(f"{name}\t{member.offset_data}\t{member.size}\n")
                file.members = []  # tarfile keeps every header that it has seen
    except tarfile.TarError as error:
        raise OSError(5, f"{tar} is no tar or a damaged one ({error})", tar) from error
    return "".join(lines).encode()


def _last_byte(index: bytes, path: Path) -> int:
    """Where the last member ends, by the index."""
    last = index.rstrip(b"\n").rpartition(b"\n")[2]
    if not last:
        return 0  # the tar is empty
    try:
        _, offset, size = last.rsplit(b"\t", 2)
        return int(offset) + int(size)
    except ValueError as error:
        raise OSError(5, f"{path} is no index of a tar; delete it", str(path)) from error


def _write_index(tar: str, index: bytes) -> None:
    beside = Path(f"{tar}{INDEX_SUFFIX}.{os.getpid()}.part")
    try:
        beside.write_bytes(index)
        os.replace(beside, tar + INDEX_SUFFIX)
    finally:
        beside.unlink(missing_ok=True)


def _check_name(name: str) -> None:
    if "\t" in name or "\n" in name:
        raise ValueError(f"the name {name!r} of a shard's member holds a tab or a line end; rename it")
