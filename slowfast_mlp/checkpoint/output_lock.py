"""One run at a time in an OUTPUT_DIR: a lock file that tells who has it and that its owner lives.

Two runs in one folder would write over each other's checkpoints without a word. The file is created in one
step, its modification time is the heartbeat, and it goes with the run. A run that was killed leaves it
behind; the next one takes it over when the owner is certainly gone.
"""

import hashlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slowfast_mlp.errors import UserError

FILE_NAME = "run.lock"
HEARTBEAT_SEC = 15.0
# An owner on another machine counts as gone after so many seconds without a heartbeat.
STALE_SEC = 120.0
ATTEMPTS = 50
CLAIM_WAIT_SEC = 0.02

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A run as its lock describes it. `pid_space` and `started` tell a process from a later one, or one in
    another container, of the same number.
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
        """Whether this owner has certainly ended, after so many seconds without a heartbeat."""
        if self.job_id and self.job_id == seen_from.job_id and self.restarts < seen_from.restarts:
            return True  # SLURM has ended a job before it starts it again
        if (self.host, self.pid_space) == (seen_from.host, seen_from.pid_space):
            return _start_of(self.pid) != self.started
        return silent_sec > STALE_SEC


def _pid_space() -> str:
    """The namespace of process numbers and the boot that they count from, where the system says."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{os.readlink('/proc/self/ns/pid')} {boot}"
    except OSError:
        return ""


def _start_of(pid: int) -> str:
    """When a process started, in the system's ticks, "alive" where the system does not say, "" if it has
    ended.
    """
    try:
        # After the name, which may hold anything, in brackets: state is field 3, the start field 22.
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
        pass  # somebody else's, and alive
    return "alive"


class OutputLock:
    """The lock of `output_dir`, held from construction to `release`. Raises UserError if a run has it."""

    def __init__(self, output_dir: str, *, environment: Mapping[str, str] = os.environ):
        self.path = Path(output_dir) / FILE_NAME
        self.owner = Owner.here(environment)
        self._ended = threading.Event()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._take()
        except OSError as error:
            raise UserError(
                f"OUTPUT_DIR {output_dir} cannot be written to ({error.strerror}). Choose another."
            ) from error
        self._heart = threading.Thread(target=self._beat, name="output lock", daemon=True)
        self._heart.start()

    def release(self) -> None:
        """Removes the file, if it is still this run's."""
        self._ended.set()
        self._heart.join()
        if self._is_own():
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> "OutputLock":
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()

    def _take(self) -> None:
        for _ in range(ATTEMPTS):
            if self._create():
                return
            found = _read(self.path)
            if found is None:
                continue  # its owner has just removed it
            text, other = found
            silent_sec = self._silent_sec(self.path)
            # Without an owner in it, it is being written, or its writer died over it.
            gone = other.is_gone(self.owner, silent_sec) if other else silent_sec > STALE_SEC
            if not gone:
                raise UserError(self._refusal(other, silent_sec))
            self._put_away(text)
        raise UserError(f"{self.path} changes all the time: several runs start in this OUTPUT_DIR at once.")

    def _create(self) -> bool:
        """Whether the file was not there, and is now this run's."""
        beside = self.path.with_name(f"{FILE_NAME}.{self.owner.token}")
        beside.write_text(json.dumps(asdict(self.owner)))
        try:
            os.link(beside, self.path)  # in one step, with its contents, also on NFS
        except FileExistsError:
            return False
        except OSError:  # a file system without links: the contents follow a moment later
            try:
                with self.path.open("x") as file:
                    file.write(beside.read_text())
            except FileExistsError:
                return False
        finally:
            beside.unlink()
        return True

    def _put_away(self, text: str) -> None:
        """Removes the lock with this text, and no other: a third run may have been quicker.

        Only who holds the claim on this very text may remove it, so between the look and the removal nobody
        else does, and no lock of a run that has just begun is ever touched.
        """
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        claim = self.path.with_name(f"{FILE_NAME}.claim-{digest}")
        try:
            claim.touch(exist_ok=False)
        except FileExistsError:
            if self._silent_sec(claim) > STALE_SEC:  # its owner died between two system calls
                claim.unlink(missing_ok=True)
            time.sleep(CLAIM_WAIT_SEC)
            return
        try:
            found = _read(self.path)
            if found is not None and found[0] == text:
                logger.warning("taking over %s, left by %s, which has ended", self.path, _in_words(found[1]))
                self.path.unlink()
        finally:
            claim.unlink(missing_ok=True)

    def _silent_sec(self, path: Path) -> float:
        """Seconds since a file was last touched, by the clock of the file system, which machines share."""
        beside = self.path.with_name(f"{FILE_NAME}.{self.owner.token}")
        beside.touch()
        try:
            return beside.stat().st_mtime - path.stat().st_mtime
        except FileNotFoundError:
            return 0.0
        finally:
            beside.unlink()

    def _refusal(self, other: Owner | None, silent_sec: float) -> str:
        return (
            f"OUTPUT_DIR {self.path.parent} is in use by {_in_words(other)}, last heard of "
            f"{max(0, silent_sec):.0f} s ago. Wait until it ends, or choose another OUTPUT_DIR. A run that "
            f"was killed on another machine is taken over {STALE_SEC:.0f} s after it was last heard of; "
            f"if this one is certainly gone, delete {self.path}."
        )

    def _is_own(self) -> bool:
        found = _read(self.path)
        return found is not None and found[1] is not None and found[1].token == self.owner.token

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SEC):
            try:
                if not self._is_own():
                    break
                os.utime(self.path)
            except OSError as error:  # a file system that is away for a while
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


def _read(path: Path) -> tuple[str, Owner | None] | None:
    """The text of a lock and the owner in it, None if there is none; None without a file."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        return text, Owner(**json.loads(text))
    except (ValueError, TypeError):
        return text, None


def _in_words(owner: Owner | None) -> str:
    if owner is None:
        return "a run that has not written its name"
    job = f", SLURM job {owner.job_id}" if owner.job_id else ""
    return f"a run on {owner.host} (process {owner.pid}{job})"
