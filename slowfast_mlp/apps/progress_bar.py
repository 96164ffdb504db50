"""How far a long job is: a bar on a terminal, a line now and then elsewhere."""

import logging
import sys
import time
from typing import TextIO

BAR_WIDTH = 30
BAR_PERIOD_SEC, LINE_PERIOD_SEC = 0.2, 30.0

logger = logging.getLogger(__name__)


class ProgressBar:
    """Shows `title`, how many of `total` are done, how many failed, the rate and the time left: on `stream`,
    or without one on standard error where messages of level INFO are shown too.
    """

    def __init__(self, title: str, total: int, *, stream: TextIO | None = None):
        self.title = title
        self.total = total
        self.stream = stream or sys.stderr
        self._is_shown = stream is not None or logger.isEnabledFor(logging.INFO)
        self.num_done = self.num_failed = 0
        self._is_terminal = self.stream.isatty()
        self._period = BAR_PERIOD_SEC if self._is_terminal else LINE_PERIOD_SEC
        self._start = self._last_write = time.monotonic()

    def add(self, *, failed: bool) -> None:
        """Counts one more."""
        self.num_done += 1
        self.num_failed += failed
        now = time.monotonic()
        if now - self._last_write >= self._period or self.num_done == self.total:
            self._last_write = now
            self._write(self.line(now - self._start))

    def close(self) -> None:
        """Ends the line of a bar when fewer were done than was thought at first."""
        if self._is_shown and self._is_terminal and self.num_done < self.total:
            self.stream.write("\n")

    def line(self, seconds: float) -> str:
        """The text after `seconds` of work."""
        rate = self.num_done / max(seconds, 1e-3)
        left = time.strftime("%H:%M:%S", time.gmtime((self.total - self.num_done) / rate)) if rate else "?"
        text = (
            f"{self.title} {self.num_done}/{self.total}, {self.num_failed} failed, {rate:.1f}/s, {left} left"
        )
        if not self._is_terminal:
            return text
        filled = BAR_WIDTH * self.num_done // max(1, self.total)
        return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {text}"

    def _write(self, text: str) -> None:
        if not self._is_shown:
            return
        if self._is_terminal:
            end = "\n" if self.num_done == self.total else ""
            self.stream.write(f"\r\x1b[K{text}{end}")
        else:
            self.stream.write(f"{text}\n")
        self.stream.flush()
