"""Logging handlers of a run: the terminal and stdout.log."""

import logging
import os
import sys
from typing import TextIO

from slowfast_mlp.errors import Stopped


def discard_output(stream: TextIO) -> None:
    """Redirects a closed stream to the null device, since Python flushes it once more at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


class _StoppableHandler(logging.StreamHandler):
    """Raises Stopped when a signal to stop arrives while a line is written; logging would report an error."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Stopped):
            raise error
        super().handleError(record)


class TerminalHandler(_StoppableHandler):
    """Writes lines to a terminal. If it is closed (`| head`), the run goes on after one warning."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Redirects a closed terminal to the null device."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return super().handleError(record)
        discard_output(self.stream)
        logging.getLogger(__name__).warning(
            "standard output takes no more (%s); the run goes on, and says what it does in stdout.log",
            error.strerror,
        )


class TextFileHandler(_StoppableHandler):
    """Writes lines to a file and keeps a write error in `failure`: lines come from any thread, but only the
    training loop may raise.
    """

    failure: OSError | None = None

    def handleError(self, record: logging.LogRecord) -> None:
        """Keeps a write error."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.failure = error
        else:
            super().handleError(record)


class TerminalFormatter(logging.Formatter):
    """Shows the text alone, with the level in front of warnings and errors."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        text = super().format(record)
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text
