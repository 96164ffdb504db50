"""Files that are whole or not there: written under another name beside, and then renamed."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".part"
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
