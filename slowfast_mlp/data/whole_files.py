"""Files that are whole or not there: written under another name beside, and then renamed."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".part"
MAX_NAME = 40  # letters of the file's own name: with the rest it stays below a file system's 255 bytes


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A name beside `path` to write to; what stands there when the block ends becomes `path`.

    When the block fails nothing stays. The name is hidden, ends in SUFFIX, and no two processes of any two
    machines that share a file system get the same.
    """
    path = Path(path)
    own = f"{socket.gethostname()[:32]}.{os.getpid()}.{secrets.token_hex(4)}"
    beside = path.with_name(f".{path.name[-MAX_NAME:]}.{own}{SUFFIX}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
