"""The log of a run: terminal, stdout.log, metrics.jsonl, PySlowFast's json_stats, TensorBoard."""

import logging
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import simplejson
from torch import Tensor

from slowfast_mlp.atomic_file import explain_write_errors, write_error
from slowfast_mlp.errors import Stopped, UserError
from slowfast_mlp.log.metrics_file import METRICS, is_up_to_epoch, is_up_to_step, keep_lines
from slowfast_mlp.log.tensorboard_writer import TensorBoardWriter, is_number
from slowfast_mlp.log.terminal import TerminalFormatter, TerminalHandler, TextFileHandler

PACKAGE = "slowfast_mlp"
FILES = ("stdout.log", METRICS, "json_stats.log")


class RunLog:
    """The files of a run in `output_dir`, and its terminal. If not `enabled` (ranks other than 0) every call
    does nothing; `quiet` shows only warnings on the terminal. TensorBoard shows `settings` (markdown) as text
    and compares runs by `compared`, the settings by dotted key.

    Files are appended to, so that a resumed run continues them after `rewind`. Writing raises UserError if a
    file cannot be written.
    """

    def __init__(
        self,
        output_dir: str,
        *,
        enabled: bool,
        tensorboard: bool,
        quiet: bool = False,
        settings: str = "",
        compared: Mapping[str, Any] | None = None,
    ):
        self.enabled = enabled
        self.output_dir = output_dir
        self._logger = logging.getLogger(PACKAGE)
        self._handlers: list[logging.Handler] = []
        # Rank 0 logs what the other ranks would log, except for their errors.
        self._logger.setLevel(logging.INFO if enabled else logging.ERROR)
        if not enabled:
            return
        try:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            self._text, self._metrics, self._stats = (
                (Path(output_dir) / name).open("a", encoding="utf-8") for name in FILES
            )
        except OSError as error:
            raise UserError(
                f"OUTPUT_DIR {output_dir} cannot be written to ({error.strerror}). Choose another."
            ) from error
        self._tensorboard = (
            TensorBoardWriter(output_dir, settings=settings, compared=compared or {}) if tensorboard else None
        )
        self._add_handlers(quiet)

    def _add_handlers(self, quiet: bool) -> None:
        terminal, self._text_handler = TerminalHandler(sys.stdout), TextFileHandler(self._text)
        terminal.setFormatter(TerminalFormatter())
        terminal.setLevel(logging.WARNING if quiet else logging.INFO)
        self._text_handler.setFormatter(
            logging.Formatter("[%(asctime)s] %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
        )
        self._handlers = [terminal, self._text_handler]
        self._logger.propagate = False
        for handler in self._handlers:
            self._logger.addHandler(handler)

    def info(self, text: str) -> None:
        """Writes one or more lines for people: terminal and stdout.log."""
        if self.enabled:
            self._logger.info(text)
            self._raise_failure()

    def metrics(self, kind: str, *, step: int, **values: Any) -> None:
        """Values at full precision: a line of metrics.jsonl, and TensorBoard scalars `kind`/name at `step`.

        A number that is not finite is written as null, which every JSON reader takes.
        """
        if not self.enabled:
            return
        self._raise_failure()
        _append(self._metrics, simplejson.dumps(_finite({"kind": kind, "step": step, **values})))
        if self._tensorboard:
            numbers = {name: value for name, value in values.items() if is_number(value)}
            self._tensorboard.scalars(numbers, kind=kind, step=step)

    def outcome(self, rates: Mapping[str, float], *, step: int) -> None:
        """The results of the run at `step`, in percent: metrics of TensorBoard's HPARAMS tab."""
        if self.enabled and self._tensorboard:
            self._tensorboard.scalars(rates, kind="hparam", step=step)

    def image(self, name: str, pixels: Tensor, *, step: int) -> None:
        """An image [H, W, 3] uint8 in TensorBoard."""
        if self.enabled and self._tensorboard:
            self._tensorboard.image(name, pixels, step=step)

    def json_stats(self, *, epoch_level: bool, **values: Any) -> None:
        """PySlowFast's `json_stats:` line with its keys: in stdout.log, and with `epoch_level` also in
        json_stats.log.
        """
        if not self.enabled:
            return
        line = "json_stats: " + simplejson.dumps(_finite(values), sort_keys=True)
        for file in (self._text, self._stats) if epoch_level else (self._text,):
            _append(file, line)

    def rewind(self, *, step: int, epoch: int) -> None:
        """Drops what an earlier run logged of training beyond `step` steps of the run and its first `epoch`
        epochs, since it is trained again. stdout.log keeps everything. Call it before the first line.
        """
        if not self.enabled:
            return
        if self._tensorboard:
            self._tensorboard.purge_step = step + 1
        self._metrics = self._drop(self._metrics, partial(is_up_to_step, step=step))
        self._stats = self._drop(self._stats, partial(is_up_to_epoch, epoch=epoch))

    def _drop(self, file: TextIO, is_kept: Callable[[str], bool]) -> TextIO:
        """Leaves only some lines of a file, and returns it open at its end."""
        num_dropped = keep_lines(file.name, is_kept)
        if not num_dropped:
            return file
        file.close()
        name = os.path.basename(file.name)
        self.info(f"{name}: {num_dropped} lines of steps that come again are taken back")
        return open(file.name, "a", encoding="utf-8")

    def close(self) -> None:
        """Closes the files and restores the package's logger."""
        for handler in self._handlers:
            self._logger.removeHandler(handler)
        self._logger.setLevel(logging.NOTSET)
        self._logger.propagate = True
        if not self.enabled:
            return
        for file in (self._text, self._metrics, self._stats):
            with suppress(OSError):  # every line was flushed, so the error was raised then
                file.close()
        if self._tensorboard:
            self._tensorboard.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if self.enabled and error is not None:  # whoever catches the error shows it on the terminal
            is_expected = isinstance(error, (UserError, Stopped))
            lines = [str(error)] if is_expected else traceback.format_exception(error)
            with suppress(UserError):  # on a full disk the error itself must still be raised
                _append(self._text, f"{'' if isinstance(error, Stopped) else 'error: '}{''.join(lines)}")
        self.close()

    def _raise_failure(self) -> None:
        """Raises UserError if a line could not be written to stdout.log since the last call."""
        failure, self._text_handler.failure = self._text_handler.failure, None
        if failure:
            raise write_error(self._text.name, failure) from failure


def _append(file: TextIO, line: str) -> None:
    with explain_write_errors(file.name):
        file.write(f"{line}\n")
        file.flush()


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}


def format_duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"
