"""The exceptions that are no bugs: a mistake of the user's, and a run that was asked to stop."""

import errno

# What a system says where there is no more room for a file.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(ValueError):
    """Something that the user can put right: a setting, a list, a file.

    The text says what, where and the way out in a line or two; `tools/` show it without a traceback.
    """

    def __init__(self, text: str):
        # A DataLoader raises what its worker raised anew, with the worker's traceback in the text; the text
        # proper stands behind the last mention of this class.
        super().__init__(text.rpartition(f"{__name__}.{type(self).__name__}: ")[2].strip())


class Stopped(Exception):
    """A signal has ended the run, and what it had come to is saved; the same command goes on from there."""
