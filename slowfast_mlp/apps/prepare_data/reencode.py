"""Many videos re-encoded, in processes; what is there already is kept."""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from slowfast_mlp.apps.progress_bar import ProgressBar
from slowfast_mlp.apps.worker_pool import JobFailure, run_jobs
from slowfast_mlp.atomic_file import SUFFIX
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.encode import Encoding, reencode
from slowfast_mlp.data.video_io.video import probe
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

SETTINGS_NAME = "encoding.json"


def reencode_all(
    names: Iterable[str],
    *,
    source: Path,
    target: Path,
    encoding: Encoding,
    num_processes: int,
    timeout_sec: float,
) -> tuple[dict[str, str], dict[str, str]]:
    """Re-encodes `source`/name as `target`/name, ending in .mp4, for every name.

    Returns the new name of each, and the reason for each that could not be written. A file that is there and
    can be opened is kept; a file is whole or not there. Raises UserError.
    """
    new_names = {name: str(Path(name).with_suffix(".mp4")) for name in names}
    _check_unique_names(new_names)
    _check_same_encoding(target, encoding)
    for left_over in target.rglob(f".*{SUFFIX}"):  # of a run that was killed
        left_over.unlink(missing_ok=True)
    for folder in {(target / name).parent for name in new_names.values()}:
        folder.mkdir(parents=True, exist_ok=True)
    old_names = list(new_names)
    jobs = [(str(source / name), target / new_names[name], encoding) for name in old_names]
    progress = ProgressBar("re-encoded", len(jobs))
    failures = {}
    for position, result in run_jobs(_write, jobs, num_processes=num_processes, timeout_sec=timeout_sec):
        if result is not None:
            reason = f"{result.kind}: {result.reason}" if isinstance(result, JobFailure) else result
            failures[old_names[position]] = reason
        progress.add(failed=result is not None)
    return {old: new for old, new in new_names.items() if old not in failures}, failures


def _write(job: tuple[str, Path, Encoding]) -> str | None:
    """Writes one file, if it is not there; the reason if it cannot."""
    source, target, encoding = job
    try:
        if target.exists() and _is_readable(target):
            return None
        reencode(source, target, encoding)
    except DecodeError as error:
        return error.reason
    except OSError as error:
        if error.filename and Path(error.filename) == Path(source):
            return f"cannot be read ({error.strerror})"
        raise UserError(f"{target} cannot be written ({error.strerror or error}).") from error
    return None


def _is_readable(path: Path) -> bool:
    try:
        return probe(str(path), "pyav").num_frames > 0
    except DecodeError:
        return False


def _check_unique_names(new_names: dict[str, str]) -> None:
    """Refuses two videos that would become one file."""
    owners: dict[str, str] = {}
    for old, new in new_names.items():
        if owners.setdefault(new, old) != old:
            raise UserError(f"{owners[new]} and {old} would both become {new}; rename one of them.")


def _check_same_encoding(target: Path, encoding: Encoding) -> None:
    """Refuses to fill up a folder that was begun with other settings; notes the settings in a new one."""
    path = target / SETTINGS_NAME
    settings = json.dumps(asdict(encoding))
    if path.exists() and (before := path.read_text()) != settings:
        raise UserError(
            f"{target} was begun with other settings ({before}, now {settings}); take them again, or another "
            "--out."
        )
    target.mkdir(parents=True, exist_ok=True)
    path.write_text(settings)
