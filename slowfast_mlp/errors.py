"""Exceptions that are not bugs: a mistake of the user, and a run that was asked to stop."""

import difflib
import errno
from collections.abc import Sequence

# Error numbers of a full disk, quota or file.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(ValueError):
    """A mistake that the user can fix: a setting, a list, a file.

    The text says what is wrong, where, and how to fix it; `tools/` show it without a traceback.
    """

    def __init__(self, text: str):
        # A DataLoader re-raises a worker's error with its traceback in the text: keep only what follows the
        # class name.
        super().__init__(text.rpartition(f"{__name__}.{type(self).__name__}: ")[2].strip())


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type if it has none, in at most 120 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


class Stopped(Exception):
    """A signal stopped the run, and its state is saved; the same command resumes it."""


def nearest_name(name: str, names: Sequence[str]) -> str:
    """Returns " Did you mean X?" with the closest known name, or "" when none is close.

    A dotted key whose last part is known in another section counts as close.
    """
    same_end = [known for known in names if known.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    folded = {known.upper(): known for known in names}
    found = (
        [folded[name.upper()]]
        if name.upper() in folded
        else close
        if name not in same_end and close
        else same_end
    )
    return f" Did you mean {found[0]}?" if found else ""
