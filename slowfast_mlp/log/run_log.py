"""What a run tells: terminal, stdout.log, metrics.jsonl, PySlowFast's json_stats, TensorBoard."""

import logging
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import simplejson
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from slowfast_mlp.atomic_file import not_written, write_atomically
from slowfast_mlp.errors import Stopped, UserError

PACKAGE = "slowfast_mlp"
FILES = ("stdout.log", "metrics.jsonl", "json_stats.log")
KINDS_OF_TRAINING = ("train", "train_epoch", "val")


class RunLog:
    """The files of a run in `output_dir`, and its terminal. Silent in every call when not `enabled` (ranks
    but 0); `quiet` leaves the terminal to warnings. `settings`, in markdown, is what TensorBoard shows of
    them as a text; `compared`, by their outside keys, those by which its HPARAMS tab compares runs.

    Files are appended to, so that a resumed run goes on in them after `rewind`. What is called to write
    raises UserError where a file cannot be written.
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
        self._writer = None
        # What other ranks would say, rank 0 says too.
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
        self._tensorboard = tensorboard
        self._settings, self._compared = settings, dict(compared or {})
        self._purge_step: int | None = None
        terminal, self._text_handler = _Terminal(sys.stdout), _Appending(self._text)
        self._text_handler.setFormatter(
            logging.Formatter("[%(asctime)s] %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
        )
        terminal.setFormatter(_Plain())
        terminal.setLevel(logging.WARNING if quiet else logging.INFO)
        self._handlers = [terminal, self._text_handler]
        self._logger.propagate = False
        for handler in self._handlers:
            self._logger.addHandler(handler)

    def say(self, text: str) -> None:
        """A line, or several, for people: terminal and stdout.log."""
        if self.enabled:
            self._logger.info(text)
            self._demand_said()

    def metrics(self, kind: str, *, step: int, **values: Any) -> None:
        """Values at full precision: a line of metrics.jsonl, and TensorBoard scalars `kind`/name at `step`.

        A number that is not finite is written as null, which every JSON reader takes.
        """
        if not self.enabled:
            return
        self._demand_said()
        self._append(self._metrics, simplejson.dumps(_finite({"kind": kind, "step": step, **values})))
        numbers = {name: value for name, value in values.items() if _is_number(value)}
        self._scalars(numbers, kind=kind, step=step)

    def outcome(self, rates: Mapping[str, float], *, step: int) -> None:
        """What the run has come to at `step`, in percent: the columns by which TensorBoard's HPARAMS tab
        compares runs.
        """
        if self.enabled:
            self._scalars(rates, kind="hparam", step=step)

    def picture(self, name: str, pixels: Tensor, *, step: int) -> None:
        """A picture [H, W, 3] uint8 in TensorBoard."""
        if self.enabled and self._tensorboard:
            with self._tensorboard_writer() as writer:
                writer.add_image(name, pixels.numpy(), step, dataformats="HWC")

    def _scalars(self, numbers: Mapping[str, float], *, kind: str, step: int) -> None:
        if self._tensorboard:
            with self._tensorboard_writer() as writer:
                for name, value in numbers.items():
                    writer.add_scalar(f"{kind}/{name}", value, step)

    @contextmanager
    def _tensorboard_writer(self) -> Iterator[SummaryWriter]:
        """TensorBoard's writer, flushed at the end; it begins with the settings. Opened late, for `rewind`
        says what it takes back.
        """
        folder = os.path.join(self.output_dir, "tensorboard")
        try:
            if self._writer is None:
                self._writer = SummaryWriter(folder, purge_step=self._purge_step)
                if self._settings:
                    self._writer.add_text("settings", self._settings)
                if self._compared:
                    self._writer.file_writer.add_summary(_start_of_session(self._compared))
            yield self._writer
            self._writer.flush()
        except OSError as error:
            raise not_written(folder, error) from error

    def rewind(self, *, step: int, epoch: int) -> None:
        """Takes back what an earlier run wrote of training beyond `step` steps of the run, `epoch` of its
        epochs being whole: it comes again. stdout.log keeps everything. To be called before the first line.
        """
        if not self.enabled:
            return
        self._purge_step = step + 1
        self._metrics = self._keep("metrics.jsonl", self._metrics, partial(_is_before, step=step))
        self._stats = self._keep("json_stats.log", self._stats, partial(_is_of_epochs, epoch=epoch))

    def _keep(self, name: str, file: Any, is_kept: Callable[[str], bool]) -> Any:
        """Leaves only some lines of a file, and returns it open at its end."""
        path = os.path.join(self.output_dir, name)
        with open(path, encoding="utf-8") as before:
            lines = before.readlines()
        kept = [line for line in lines if is_kept(line)]
        if len(kept) == len(lines):
            return file
        file.close()
        write_atomically(path, lambda new: new.write("".join(kept).encode()))
        self.say(f"{name}: {len(lines) - len(kept)} lines of steps that come again are taken back")
        return open(path, "a", encoding="utf-8")

    def json_stats(self, *, epoch_level: bool, **values: Any) -> None:
        """PySlowFast's `json_stats:` line with its keys: in stdout.log, and for whole epochs in
        json_stats.log.
        """
        if not self.enabled:
            return
        line = "json_stats: " + simplejson.dumps(_finite(values), sort_keys=True)
        for file in (self._text, self._stats) if epoch_level else (self._text,):
            self._append(file, line)

    def close(self) -> None:
        """Ends the files; the package's logger is as it was before."""
        for handler in self._handlers:
            self._logger.removeHandler(handler)
        self._logger.setLevel(logging.NOTSET)
        self._logger.propagate = True
        files = [self._text, self._metrics, self._stats] if self.enabled else []
        for file in files + [self._writer] * (self._writer is not None):
            with suppress(OSError):  # every line was flushed, so this was raised when it was written
                file.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if self.enabled and error is not None:  # the terminal is told by whoever catches it
            is_told = isinstance(error, (UserError, Stopped))
            lines = [str(error)] if is_told else traceback.format_exception(error)
            with suppress(UserError):  # on a full disk too the error itself is what is to be told
                self._append(self._text, f"{'' if isinstance(error, Stopped) else 'error: '}{''.join(lines)}")
        self.close()

    def _append(self, file: TextIO, line: str) -> None:
        try:
            file.write(f"{line}\n")
            file.flush()
        except OSError as error:
            raise not_written(file.name, error) from error

    def _demand_said(self) -> None:
        """Raises UserError if a line could not be written to stdout.log since the last call."""
        failure, self._text_handler.failure = self._text_handler.failure, None
        if failure:
            raise not_written(self._text.name, failure) from failure


class _Lines(logging.StreamHandler):
    """Writes lines. A signal to stop that comes in the middle of one is no failure of it, as logging has it
    of every exception.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Stopped):
            raise error
        super().handleError(record)


class _Terminal(_Lines):
    """Writes lines for whoever looks on. That they are gone (`| head`, a closed connection) is no reason for
    a run to end, nor to be told of with every line.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return super().handleError(record)
        # Under the stream itself, which Python flushes once more when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)
        logging.getLogger(PACKAGE).warning(
            "standard output takes no more (%s); the run goes on, and says what it does in stdout.log",
            error.strerror,
        )


class _Appending(_Lines):
    """Writes lines to a file, and keeps the error where that fails: lines come from any thread, and the loop
    is the one to end.
    """

    failure: OSError | None = None

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.failure = error
        else:
            super().handleError(record)


class _Plain(logging.Formatter):
    """On a terminal the text alone, with the level where something is wrong."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text


def _is_before(line: str, *, step: int) -> bool:
    """Whether a line of metrics.jsonl is whole, and not of training beyond `step`."""
    try:
        record = simplejson.loads(line)
    except simplejson.JSONDecodeError:  # cut off by a kill
        return False
    return record["kind"] not in KINDS_OF_TRAINING or record["step"] <= step


def _is_of_epochs(line: str, *, epoch: int) -> bool:
    """Whether a line of json_stats.log is whole, and not of an epoch beyond the first `epoch`."""
    try:
        stats = simplejson.loads(line.removeprefix("json_stats: "))
    except simplejson.JSONDecodeError:
        return False
    return "epoch" not in stats or int(stats["epoch"].split("/")[0]) <= epoch


def validation_after(output_dir: str, epoch: int) -> float | None:
    """The top-1 of the validation after `epoch` epochs, if metrics.jsonl has it."""
    path = Path(output_dir) / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    records = [simplejson.loads(line) for line in lines]
    found = [r["top1"] for r in records if r["kind"] == "val" and r["epoch"] == epoch]
    return found[-1] if found else None


def last_metrics(output_dir: str, kind: str) -> dict[str, Any]:
    """The newest line of `kind` ("train", "val", "test") in a run's metrics.jsonl. Raises UserError."""
    path = Path(output_dir) / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = [record for record in map(simplejson.loads, lines) if record["kind"] == kind]
    if not found:
        raise UserError(f"{path} has no line of the kind {kind!r}: the run did not come so far.")
    return found[-1]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _start_of_session(settings: Mapping[str, Any]) -> Any:
    """TensorBoard's summary of the settings of a run.

    Its description of the whole experiment is left out: TensorBoard would take that of one run for all, and
    without it lists what any run has, the settings that differ first.
    """
    shown = {key: value if _is_number(value) else str(value) for key, value in settings.items()}
    _, start, _ = hparams(shown, {})
    return start


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"
