"""One run at a time in an OUTPUT_DIR: a lock file with owner and heartbeat.

Two runs in one folder would overwrite each other's checkpoints. The owner refreshes the modification time of
the lock file, and removes the file when the run ends. A killed run leaves it behind; the next run takes it
over once the owner is certainly gone. Every run checks and takes the lock file under a SoftFileLock, which
needs only exclusive creation of a file: this holds between machines and on file systems without locks too.

The guarantee ends with an owner on another machine that stands still for STALE_SEC: it is taken over, and
ends at its next heartbeat, without saving.
"""

import json
import logging
import os
import socket
import threading
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import SoftFileLock, Timeout

from slowfast_mlp.errors import UserError

FILE_NAME = "run.lock"
HEARTBEAT_SEC = 15.0
# An owner on another machine counts as gone after this time without a heartbeat.
STALE_SEC = 120.0
# How long a run waits for another that is just starting in the same folder.
GUARD_SEC = 10.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The run that holds a lock. `pid_space` and `started` distinguish its process from a later process, or
    one of another container, with the same number.
    """

    host: str
    pid: int
    pid_space: str
    started: str
    job_id: str
    restarts: int
    token: str

    @classmethod
    def here(cls, environment: Mapping[str, str]) -> "Owner":
        """This process."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            pid_space=_pid_space(),
            started=_start_of(os.getpid()),
            job_id=environment.get("SLURM_JOB_ID", ""),
            restarts=int(environment.get("SLURM_RESTART_COUNT") or 0),
            token=uuid.uuid4().hex,
        )

    def is_gone(self, seen_from: "Owner", silent_sec: float) -> bool:
        """Whether this owner has certainly ended, `silent_sec` after its last heartbeat."""
        if self.job_id and self.job_id == seen_from.job_id and self.restarts < seen_from.restarts:
            return True  # SLURM has ended a job before it starts it again
        if (self.host, self.pid_space) == (seen_from.host, seen_from.pid_space):
            return _start_of(self.pid) != self.started
        return silent_sec > STALE_SEC


def _pid_space() -> str:
    """The PID namespace and the boot of this machine; empty where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{os.readlink('/proc/self/ns/pid')} {boot}"
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """Start time of a process in clock ticks; "alive" where the system does not tell; "" if it has ended."""
    try:
        # Behind the name in brackets, which may hold anything: state is field 3, start time field 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass  # alive, of another user
    return "alive"


class _LockFile(NamedTuple):
    """The contents of a lock file: no owner while it is being written."""

    owner: Owner | None
    modified: float

    @classmethod
    def read(cls, path: Path) -> "_LockFile | None":
        """The lock file, None if there is none."""
        try:
            with path.open() as file:
                text, modified = file.read(), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        try:
            return cls(Owner(**json.loads(text)), modified)
        except (ValueError, TypeError):
            return cls(None, modified)


class OutputLock:
    """The lock of `output_dir`, from construction to `release`. Raises UserError if another run has it."""

    def __init__(self, output_dir: str, *, environment: Mapping[str, str] = os.environ):
        self.path = Path(output_dir) / FILE_NAME
        self.owner = Owner.here(environment)
        self._ended = threading.Event()
        guard = self.path.with_name(f"{FILE_NAME}.guard")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with SoftFileLock(guard, timeout=GUARD_SEC):
                self._take(now=guard.stat().st_mtime)
        except Timeout as error:
            raise UserError(
                f"Several runs start in OUTPUT_DIR {output_dir} at once. If there is no other run, delete "
                f"{guard}, which a killed run left."
            ) from error
        except OSError as error:
            raise UserError(
                f"OUTPUT_DIR {output_dir} cannot be written to ({error.strerror}). Choose another."
            ) from error
        self._heart = threading.Thread(target=self._beat, name="output lock", daemon=True)
        self._heart.start()

    def release(self) -> None:
        """Removes the lock file, if it is still this run's."""
        self._ended.set()
        self._heart.join()
        if self._is_own():
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> "OutputLock":
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()

    def _take(self, *, now: float) -> None:
        """Creates the lock file, or takes it over if its owner is gone. `now` is the file system's time."""
        if found := _LockFile.read(self.path):
            silent_sec = now - found.modified
            # Without an owner, it is being written or its writer died while writing.
            is_gone = found.owner.is_gone(self.owner, silent_sec) if found.owner else silent_sec > STALE_SEC
            if not is_gone:
                raise UserError(self._refusal(found.owner, silent_sec))
            logger.warning(
                "taking over %s, left by %s, which has ended", self.path, _describe_owner(found.owner)
            )
            self.path.unlink(missing_ok=True)
        with self.path.open("x") as file:
            json.dump(asdict(self.owner), file)

    def _refusal(self, other: Owner | None, silent_sec: float) -> str:
        return (
            f"OUTPUT_DIR {self.path.parent} is in use by {_describe_owner(other)}, last heard of "
            f"{max(0, silent_sec):.0f} s ago. Wait until it ends, or choose another OUTPUT_DIR. A run that "
            f"was killed on another machine is taken over {STALE_SEC:.0f} s after it was last heard of; "
            f"if this one is certainly gone, delete {self.path}."
        )

    def _is_own(self) -> bool:
        found = _LockFile.read(self.path)
        return found is not None and found.owner == self.owner

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SEC):
            try:
                if not self._is_own():
                    break
                os.utime(self.path)
            except OSError as error:  # the file system is unavailable for a while
                logger.warning("the heartbeat of %s fails (%s)", self.path, error.strerror)
        else:
            return
        logger.error(
            "%s is no longer this run's: it or its folder was deleted or moved, or another run took over "
            "while this one stood still. It ends here without saving, so as not to write over another's "
            "files. Once no other run is in %s, and what was moved is back, the same command goes on from "
            "the newest checkpoint there.",
            self.path,
            self.path.parent,
        )
        os._exit(1)


def _describe_owner(owner: Owner | None) -> str:
    if owner is None:
        return "a run that has not written its name"
    job = f", SLURM job {owner.job_id}" if owner.job_id else ""
    return f"a run on {owner.host} (process {owner.pid}{job})"
