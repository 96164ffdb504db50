"""A time limit for reading a file, so that a decoder that hangs fails one video and not the run."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

# Hanging reads of one process after which it gives up: then the file system hangs, not a file.
MAX_HANGING = 16
PREFIX = "reading "  # of the names of the threads that read

Result = TypeVar("Result")


def with_timeout(seconds: float, path: str, read: Callable[[], Result]) -> Result:
    """Returns or raises what `read()` does. Raises DecodeError after `seconds`; 0 is no limit.

    Native code cannot be interrupted from inside its process. So `read` runs in a thread, which is abandoned
    after the timeout and ends with the process. It may still run then, so it must not share state. A file on
    which an earlier read still hangs is refused at once. Raises UserError if too many reads hang.
    """
    if not seconds:
        return read()
    if path in _hanging():
        raise DecodeError(path, "an earlier read of it hangs still")
    outcome: _Outcome[Result] = _Outcome()

    def run() -> None:
        with outcome:
            outcome.result = read()

    thread = threading.Thread(target=run, name=f"{PREFIX}{path}", daemon=True)
    thread.start()
    thread.join(seconds)
    if outcome.is_there:
        if outcome.error is not None:
            raise outcome.error
        return outcome.result
    hanging = _hanging()
    if len(hanging) >= MAX_HANGING:
        raise UserError(
            f"{len(hanging)} reads hang in one process, each for longer than DATA.DECODE_TIMEOUT_SEC "
            f"{seconds:g}: {', '.join(sorted(hanging))}. See whether the file system answers."
        )
    logger.warning("reading %s took longer than %g seconds and was left behind", path, seconds)
    raise DecodeError(path, f"reading took longer than DATA.DECODE_TIMEOUT_SEC {seconds:g}")


class _Outcome(Generic[Result]):
    """The result or the exception of a read, for the waiting thread. Stores exceptions of its block."""

    def __init__(self):
        self.result: Result | None = None
        self.error: BaseException | None = None
        self.is_there = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> bool:
        self.error = error
        self.is_there = True
        return True


def _hanging() -> list[str]:
    """Files that threads of this process are reading."""
    names = [thread.name for thread in threading.enumerate()]
    return [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
