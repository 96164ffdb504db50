"""Videos and images packed into tar shards, for file systems that are slow with many small files.

A path points into a tar as into a folder: `/data/shard-00000.tar/abc.mp4`. Next to the tar is its index,
`shard-00000.tar.index`. Its first line has the size and modification time (ns) of the tar; then one line per
member has its name, the offset of its header and its size, tab-separated. If the index is missing, or has
another size or time than the tar, it is rebuilt from the headers of the tar.
"""

import io
import logging
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.atomic_file import atomic_write

logger = logging.getLogger(__name__)

INDEX_SUFFIX = ".index"
# Cached indexes per process, as text of about 50 bytes per member: 256 shards of 1,000 members are 13 MB.
MAX_CACHED = 256
BLOCK_BYTES = 1 << 20


class Member(NamedTuple):
    """A file inside a local tar: `size` bytes from `offset`."""

    tar: str
    offset: int
    size: int


class FileStatus(NamedTuple):
    """Tells whether a file has changed; a member of a tar changes with its tar."""

    num_bytes: int
    changed_ns: int
    is_regular: bool


def split_path(path: str) -> tuple[str, str] | None:
    """The tar and the name inside it; None if the path does not point into a tar."""
    tar, found, name = path.partition(".tar/")
    return (f"{tar}.tar", name) if found and name else None


def is_member(path: str) -> bool:
    """Whether a path points into a tar, and not into a folder named like one."""
    parts = split_path(path)
    return parts is not None and not g_pathmgr.isdir(parts[0])


def find_member(path: str) -> Member:
    """The location of a member. Raises OSError if the tar or the member is missing."""
    tar, offset = _place_of(path)
    with open(tar, "rb") as file:
        return _member_at(file, tar, offset, path)


def read_file(path: str) -> bytes:
    """The contents of a file, in a tar or not. Raises OSError."""
    if is_member(path):
        return read_member(path)
    with g_pathmgr.open(path, "rb") as file:
        return file.read()


def ffmpeg_url(path: str) -> str:
    """The URL with which FFmpeg reads a file, in a tar or not. Raises OSError."""
    if not is_member(path):
        return f"file:{g_pathmgr.get_local_path(path)}"  # a colon in the name is no protocol
    member = find_member(path)
    # FFmpeg reads the member where it lies.
    return f"subfile,,start,{member.offset},end,{member.offset + member.size},,:{member.tar}"


def read_member(path: str) -> bytes:
    """The contents of the file of a path into a tar. Raises OSError."""
    tar, offset = _place_of(path)
    with open(tar, "rb") as file:
        member = _member_at(file, tar, offset, path)
        file.seek(member.offset)
        contents = file.read(member.size)
    if len(contents) < member.size:
        raise OSError(5, f"{tar} is cut off", path)
    return contents


def read_blocks(path: str) -> Iterator[bytes]:
    """The contents of a file, in a tar or not, a part at a time. Raises OSError."""
    if is_member(path):
        yield read_member(path)
        return
    with g_pathmgr.open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def file_status(path: str) -> FileStatus:
    """The status of a file, in a tar or not, or of a folder. Raises OSError."""
    if is_member(path):
        member = find_member(path)
        return FileStatus(member.size, os.stat(member.tar).st_mtime_ns, True)
    status = os.stat(g_pathmgr.get_local_path(path))
    return FileStatus(status.st_size, status.st_mtime_ns, stat.S_ISREG(status.st_mode))


def member_names(tar: str) -> list[str]:
    """The names of all files in a tar, in their order. Raises OSError."""
    local = g_pathmgr.get_local_path(tar)
    status = os.stat(local)
    lines = _cached_index(local, status.st_size, status.st_mtime_ns).decode().splitlines()
    return [line.rsplit("\t", 2)[0] for line in lines[1:]]


def sizes_of_members(tar: str | Path) -> list[tuple[str, int]] | None:
    """Names and sizes from the index of a tar; None if the index is missing or not that of the tar.

    The tar is not read. Raises OSError.
    """
    path = Path(f"{tar}{INDEX_SUFFIX}")
    if not path.is_file() or not Path(tar).is_file():
        return None
    head, *lines = path.read_bytes().split(b"\n")[:-1] or [b""]
    if head != _first_line(str(tar)):
        return None
    rows = [line.decode().rsplit("\t", 2) for line in lines]
    return [(name, int(size)) for name, _, size in rows]


def exists(path: str) -> bool:
    """Whether there is such a file, in a tar or not."""
    if not is_member(path):
        return g_pathmgr.exists(path)
    try:
        find_member(path)
    except OSError:
        return False
    return True


def write_shard(path: str | Path, files: Iterable[tuple[str, str | Path | bytes]]) -> None:
    """Writes a tar of (name inside it, file or contents) and its index, each atomically."""
    with atomic_write(path) as temporary, tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, source in files:
            _check_name(name)
            contents = source if isinstance(source, bytes) else Path(source).read_bytes()
            header = tarfile.TarInfo(name)
            header.size = len(contents)
            tar.addfile(header, io.BytesIO(contents))
    _write_index(str(path), _scan(str(path)))


def _place_of(path: str) -> tuple[str, int]:
    """The local tar of a path, and the offset of the member's header, from the index."""
    tar, name = split_path(path)
    local = g_pathmgr.get_local_path(tar)
    status = os.stat(local)
    index = _cached_index(local, status.st_size, status.st_mtime_ns)
    line = index.find(f"\n{name}\t".encode(errors="surrogateescape")) + 1
    if not line:
        raise FileNotFoundError(2, f"{tar} has no member {name!r}", path)
    return local, int(index[line : index.index(b"\n", line)].rsplit(b"\t", 2)[1])


def _member_at(file: BinaryIO, tar: str, offset: int, path: str) -> Member:
    """The member whose header is at `offset`. Raises OSError if its name differs: then the index is wrong."""
    file.seek(offset)
    try:
        with tarfile.open(fileobj=file, mode="r:") as members:
            member = members.next()
    except tarfile.TarError:
        member = None
    if member is None or member.name.removeprefix("./") != split_path(path)[1]:
        raise OSError(5, f"{tar}{INDEX_SUFFIX} is not the index of this tar; delete it", path)
    return Member(tar, member.offset_data, member.size)


@lru_cache(maxsize=MAX_CACHED)
def _cached_index(tar: str, size: int, changed_ns: int) -> bytes:
    """The index of a tar; the arguments make the cache miss if the size or time changes.

    It is kept as text: a dictionary of strings would be ten times as large, in every worker.
    """
    path = Path(tar + INDEX_SUFFIX)
    if path.is_file():
        index = path.read_bytes()
        if index.startswith(_first_line(tar) + b"\n") and index.endswith(b"\n"):
            return index
        logger.warning("%s is not of its tar as it is now, and is made again", path)
    else:
        logger.warning("%s is missing, and is made again", path)
    index = _scan(tar)
    try:
        _write_index(tar, index)
    except OSError as error:
        logger.warning("%s cannot be written (%s): every process has to scan the tar", path, error.strerror)
    return index


def _first_line(tar: str) -> bytes:
    status = os.stat(tar)
    return f"{status.st_size}\t{status.st_mtime_ns}".encode()


def _scan(tar: str) -> bytes:
    """Builds the index from the headers of the tar."""
    lines = [_first_line(tar).decode() + "\n"]
    try:
        with tarfile.open(tar, "r:") as file:
            lines += [_index_line(member) for member in _regular_files(file)]
    except tarfile.TarError as error:
        raise OSError(5, f"{tar} is no tar or a damaged one ({error})", tar) from error
    return "".join(lines).encode(errors="surrogateescape")


def _regular_files(file: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in file:
        if member.isreg() and not member.issparse():
            yield member
        file.members = []  # tarfile would keep every header


def _index_line(member: tarfile.TarInfo) -> str:
    name = member.name.removeprefix("./")  # as `tar -cf shard.tar .` writes it
    _check_name(name)
    return f"{name}\t{member.offset}\t{member.size}\n"


def _write_index(tar: str, index: bytes) -> None:
    with atomic_write(tar + INDEX_SUFFIX) as temporary:
        temporary.write_bytes(index)


def _check_name(name: str) -> None:
    if "\t" in name or "\n" in name:
        raise ValueError(f"the name {name!r} of a shard's member holds a tab or a line end; rename it")
