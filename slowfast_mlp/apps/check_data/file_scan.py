"""What is known of every file of a data set: looked at in processes, remembered in a cache file."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

from slowfast_mlp.apps.progress_bar import ProgressBar
from slowfast_mlp.apps.worker_pool import JobFailure, run_jobs
from slowfast_mlp.data import tar_files
from slowfast_mlp.data.records import Record, column_hint, frames_hint
from slowfast_mlp.data.video_io.decode_error import DecodeError, reason_of
from slowfast_mlp.data.video_io.probe import DECODE, Contents, probe_record
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

HEAD_BYTES = 1 << 16  # enough to tell nearly all files of one size apart without reading them again
CACHE_VERSION = 2


class FileKey(NamedTuple):
    """What is looked at: a file, or a folder of frames as a list describes it; another list may say
    otherwise.
    """

    path: str
    num_listed: int = 0
    first_frame: int = 1


class FileFacts(NamedTuple):
    """A file or folder of frames, and what was found. `kind` is the sort of problem, "" without: missing,
    empty, damaged, hung or crashed; `problem` says it in words.

    `num_bytes` and `changed_ns` of a folder are those of the listed pictures, summed and the latest, and
    `head` is a digest of its first, middle and last picture and their number; of a file it is one of its
    first bytes.
    """

    key: FileKey
    num_bytes: int = 0
    changed_ns: int = 0
    head: str = ""
    contents: Contents | None = None
    kind: str = ""
    problem: str = ""


def file_key(record: Record) -> FileKey:
    """The record without its label."""
    return FileKey(record.path, record.num_frames, record.first_frame)


def scan_files(
    records: Iterable[Record],
    *,
    decode: str,
    decoder: str,
    num_processes: int,
    timeout_sec: float,
    cache: Path,
) -> dict[FileKey, FileFacts]:
    """The facts of every record, each file looked at once; from the cache where the file is as it was.

    What hung, crashed or is missing is checked again each time. Raises UserError.
    """
    facts = {}
    with _Cache(cache, decode=decode, decoder=decoder) as known:
        jobs = [(key, known.facts.get(key)) for key in dict.fromkeys(map(file_key, records))]
        progress = ProgressBar("looked at", len(jobs))
        scan = partial(_scan_file, decode=decode, decoder=decoder)
        for position, result in run_jobs(scan, jobs, num_processes=num_processes, timeout_sec=timeout_sec):
            key, before = jobs[position]
            if isinstance(result, JobFailure):
                result = FileFacts(key, kind=result.kind, problem=result.reason)
            elif result.kind != "missing" and result != before:
                known.add(result)
            facts[key] = result
            progress.add(failed=bool(result.kind))
    return facts


def find_duplicates(facts: Iterable[FileFacts], *, num_processes: int, timeout_sec: float) -> list[list[str]]:
    """Groups of paths with the same contents: of files all bytes, where size and beginning are the same; of
    folders of frames the first, the middle and the last picture and their number.
    """
    files: dict[tuple[int, str], list[str]] = {}
    folders: dict[str, list[str]] = {}
    for file in facts:
        if file.head and not file.kind:
            if file.key.num_listed:
                folders.setdefault(file.head, []).append(file.key.path)
            else:
                files.setdefault((file.num_bytes, file.head), []).append(file.key.path)
    suspects = [path for paths in files.values() if len(paths) > 1 for path in paths]
    same: dict[str, list[str]] = {}
    for position, digest in run_jobs(_digest, suspects, num_processes=num_processes, timeout_sec=timeout_sec):
        if isinstance(digest, JobFailure):
            logger.warning(
                "%s cannot be compared with files of its size: %s", suspects[position], digest.reason
            )
        else:
            same.setdefault(digest, []).append(suspects[position])
    groups = [sorted(set(paths)) for paths in (*same.values(), *folders.values())]
    return [paths for paths in groups if len(paths) > 1]


def _scan_file(job: tuple[FileKey, FileFacts | None], *, decode: str, decoder: str) -> FileFacts:
    key, known = job
    record = Record(key.path, 0, key.num_listed, key.first_frame)
    facts = FileFacts(key)
    try:
        status, absent = (
            _folder_status(record) if record.num_frames else (tar_files.file_status(record.path), None)
        )
    except (FileNotFoundError, NotADirectoryError):
        return facts._replace(kind="missing", problem=f"does not exist{_format_hint(column_hint(record))}")
    except OSError as error:
        return facts._replace(kind="damaged", problem=reason_of(error))
    facts = facts._replace(num_bytes=status.num_bytes, changed_ns=status.changed_ns)
    if known and known[:3] == facts[:3]:
        return known
    if absent:
        problem = f"the list says {record.num_frames} frames, but there is no {absent}"
        return facts._replace(kind="damaged", problem=problem + _format_hint(frames_hint(record)))
    if not record.num_frames and not status.is_regular:
        return facts._replace(kind="damaged", problem="is neither a file nor a folder of frames")
    if not record.num_frames and not facts.num_bytes:
        return facts._replace(kind="empty", problem="has no bytes")
    try:
        contents = probe_record(record, decode=decode, decoder=decoder)
        head = _digest_folder(record, contents) if record.num_frames else _digest(record.path, HEAD_BYTES)
        return facts._replace(head=head, contents=contents)
    except DecodeError as error:
        return facts._replace(kind="damaged", problem=error.reason)
    except OSError as error:
        return facts._replace(kind="damaged", problem=f"cannot be read ({reason_of(error)})")


def _format_hint(hint: str) -> str:
    """A hint as what follows a finding, which ends without a full stop."""
    return f".{hint.rstrip('.')}" if hint else ""


def _folder_status(record: Record) -> tuple[tar_files.FileStatus, str | None]:
    """Of the listed pictures of a folder, as far as they are there: the sum of their sizes, and the latest
    change of one of them or of the folder; and the first that is not there. Raises OSError where there is
    neither folder nor first picture.
    """
    found, absent = [], None
    if not tar_files.is_member(record.first_file):
        found.append(tar_files.file_status(os.path.dirname(record.first_file))._replace(num_bytes=0))
    for number in range(record.first_frame, record.first_frame + record.num_frames):
        try:
            found.append(tar_files.file_status(record.path.format(number)))
        except FileNotFoundError:
            if not found:
                raise  # a tar that has not the first picture has no such folder
            absent = absent or record.path.format(number)
    status = tar_files.FileStatus(
        sum(status.num_bytes for status in found), max(status.changed_ns for status in found), False
    )
    return status, absent


def _digest_folder(record: Record, contents: Contents) -> str:
    """Of the first, the middle and the last picture there, and how many there are: lists may say less."""
    numbers = (0, contents.num_frames // 2, contents.num_frames - 1)
    parts = [_digest(record.path.format(record.first_frame + number)) for number in numbers]
    return hashlib.sha256(" ".join([*parts, str(contents.num_frames)]).encode()).hexdigest()


def _digest(path: str, num_bytes: int | None = None) -> str:
    """SHA-256 of a file, or of its first bytes."""
    digest, left = hashlib.sha256(), num_bytes
    for block in tar_files.read_blocks(path):
        digest.update(block if left is None else block[:left])
        left = None if left is None else left - len(block)
        if left is not None and left <= 0:
            break
    return digest.hexdigest()


class _Cache:
    """Facts of an earlier look, a line of JSON for each file.

    Every new one is written at once, so that a look that is cut off goes on where it was.
    """

    def __init__(self, path: Path, *, decode: str, decoder: str):
        self.path = path
        self._decode, self._decoder = decode, decoder
        self.facts: dict[FileKey, FileFacts] = {}
        text = self._or_user_error(lambda: path.read_text(encoding="utf-8") if path.exists() else "")
        num_unread = sum(not self._read(line) for line in text.splitlines())
        if num_unread:
            logger.warning("%d lines of the cache %s cannot be read: checked again", num_unread, path)
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
            key, contents = FileKey(*facts.key), facts.contents and Contents(*facts.contents)
            self.facts[key] = facts._replace(key=key, contents=contents)
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
                f"The cache {self.path} cannot be used ({reason_of(error)}); give another --cache FILE."
            ) from error
