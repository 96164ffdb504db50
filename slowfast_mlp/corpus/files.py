"""What is known of every file of a data set: looked at in processes, remembered in a cache file."""

import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

from slowfast_mlp.corpus.processes import GivenUp, run_jobs
from slowfast_mlp.corpus.progress import CountProgress
from slowfast_mlp.data import shards
from slowfast_mlp.data.decode import DecodeError
from slowfast_mlp.data.examine import DECODE, Contents, examine
from slowfast_mlp.data.records import Record
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
HEAD_BYTES = 1 << 16  # enough to tell nearly all files of one size apart without reading them again
CACHE_VERSION = 1


class FileFacts(NamedTuple):
    """One file or folder of frames. `kind` is the sort of problem, "" without: missing, empty, damaged, hung
    or crashed; `problem` says it in words. Folders of frames have no size and no digest of their first bytes,
    but the number of frames that their list says.
    """

    path: str
    num_bytes: int = 0
    mtime_ns: int = 0
    num_listed: int = 0
    head: str = ""
    contents: Contents | None = None
    kind: str = ""
    problem: str = ""


def look_at_files(
    records: Sequence[Record],
    *,
    decode: str,
    decoder: str,
    num_processes: int,
    timeout_sec: float,
    cache: Path,
) -> dict[str, FileFacts]:
    """The facts by the path of every record, from the cache where the file is as it was.

    What hung, crashed or is missing is looked at anew each time. Raises UserError.
    """
    facts = {}
    with _Cache(cache, decode=decode, decoder=decoder) as known:
        jobs = [(record, known.facts.get(record.path)) for record in records]
        progress = CountProgress("looked at", len(jobs))
        look = partial(_look_at, decode=decode, decoder=decoder)
        for position, result in run_jobs(look, jobs, num_processes=num_processes, timeout_sec=timeout_sec):
            path = records[position].path
            if isinstance(result, GivenUp):
                result = FileFacts(path, kind=result.kind, problem=result.reason)
            elif result.kind != "missing" and result != known.facts.get(path):
                known.add(result)
            facts[path] = result
            progress.add(failed=bool(result.kind))
    return facts


def find_copies(facts: dict[str, FileFacts], *, num_processes: int, timeout_sec: float) -> list[list[str]]:
    """Groups of paths whose files hold the same bytes; only files of one size and one beginning are read."""
    alike: dict[tuple, list[str]] = {}
    for path, file in facts.items():
        if file.head and not file.kind:
            alike.setdefault((file.num_bytes, file.head), []).append(path)
    suspects = [path for paths in alike.values() if len(paths) > 1 for path in paths]
    same: dict[str, list[str]] = {}
    for position, digest in run_jobs(_digest, suspects, num_processes=num_processes, timeout_sec=timeout_sec):
        if isinstance(digest, GivenUp):
            logger.warning(
                "%s cannot be compared with files of its size: %s", suspects[position], digest.reason
            )
        else:
            same.setdefault(digest, []).append(suspects[position])
    return [sorted(paths) for paths in same.values() if len(paths) > 1]


def _look_at(job: tuple[Record, FileFacts | None], *, decode: str, decoder: str) -> FileFacts:
    record, known = job
    facts = FileFacts(record.path, num_listed=record.num_frames)
    try:
        facts, is_file = _looked_up(record, facts)
    except (FileNotFoundError, NotADirectoryError):
        return facts._replace(kind="missing", problem="does not exist")
    except OSError as error:
        return facts._replace(kind="damaged", problem=error.strerror or str(error))
    if known and known[:4] == facts[:4]:
        return known
    if is_file and not facts.num_bytes:
        return facts._replace(kind="empty", problem="has no bytes")
    try:
        head = _digest(record.path, num_bytes=HEAD_BYTES) if is_file else ""
        return facts._replace(head=head, contents=examine(record, decode=decode, decoder=decoder))
    except DecodeError as error:
        return facts._replace(kind="damaged", problem=error.reason)
    except OSError as error:
        return facts._replace(kind="damaged", problem=f"cannot be read ({error.strerror})")


def _looked_up(record: Record, facts: FileFacts) -> tuple[FileFacts, bool]:
    """The facts with size and time of change, and whether it is a file: in a tar, or by itself; of a folder
    of frames the folder counts. Raises OSError.
    """
    if record.num_frames:
        return facts._replace(mtime_ns=os.stat(os.path.dirname(record.first_file)).st_mtime_ns), False
    if shards.split_path(record.path) and not os.path.exists(record.path):
        member = shards.find_member(record.path)
        return facts._replace(num_bytes=member.size, mtime_ns=os.stat(member.tar).st_mtime_ns), True
    status = os.stat(record.path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "is neither a file nor a folder of frames")
    return facts._replace(num_bytes=status.st_size, mtime_ns=status.st_mtime_ns), True


def _digest(path: str, num_bytes: int | None = None) -> str:
    if shards.split_path(path) and not os.path.exists(path):
        return hashlib.sha256(shards.read_member(path)[:num_bytes]).hexdigest()
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        if num_bytes is not None:
            digest.update(file.read(num_bytes))
        else:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


class _Cache:
    """Facts of an earlier look, a line of JSON for each file.

    Every new one is written at once, so that a look that is cut off goes on where it was.
    """

    def __init__(self, path: Path, *, decode: str, decoder: str):
        self.path = path
        self._decode, self._decoder = decode, decoder
        self.facts: dict[str, FileFacts] = {}
        text = self._or_user_error(lambda: path.read_text(encoding="utf-8") if path.exists() else "")
        num_unread = sum(not self._read(line) for line in text.splitlines())
        if num_unread:
            logger.warning("%d lines of the cache %s cannot be read: looked at anew", num_unread, path)
        self._ends_in_a_line = not text or text.endswith("\n")

    def _read(self, line: str) -> bool:
        """Takes a line in, if it was looked at as closely as is asked now; False for a torn one."""
        try:
            entry = json.loads(line)
            facts = FileFacts(*entry["facts"])
            closeness = DECODE.index(entry["decode"])
            version, decoder = entry["version"], entry["decoder"]
        except (ValueError, KeyError, TypeError):
            return False
        if version == CACHE_VERSION and decoder == self._decoder and closeness >= DECODE.index(self._decode):
            contents = facts.contents and Contents(*facts.contents)
            self.facts[facts.path] = facts._replace(contents=contents)
        return True

    def __enter__(self) -> "_Cache":
        self._or_user_error(lambda: self.path.parent.mkdir(parents=True, exist_ok=True))
        self._file: TextIO = self._or_user_error(lambda: self.path.open("a", encoding="utf-8"))
        if not self._ends_in_a_line:
            self._file.write("\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, facts: FileFacts) -> None:
        """Appends the facts."""
        entry = {"version": CACHE_VERSION, "decode": self._decode, "decoder": self._decoder, "facts": facts}
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def _or_user_error(self, action: Callable):
        try:
            return action()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"The cache {self.path} cannot be used ({error}); give another --cache FILE."
            ) from error
