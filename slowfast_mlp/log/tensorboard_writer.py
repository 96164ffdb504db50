"""TensorBoard's event files of a run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from slowfast_mlp.atomic_file import explain_write_errors


class TensorBoardWriter:
    """Writes scalars and images, after the settings of the run.

    `settings` (markdown) is shown as text; `compared` are the columns of the HPARAMS tab. The event file is
    opened with the first value, so `purge_step`, from which an earlier run's values are dropped, can be set
    before.
    """

    def __init__(self, output_dir: str, *, settings: str, compared: Mapping[str, Any]):
        self.purge_step: int | None = None
        self._folder = os.path.join(output_dir, "tensorboard")
        self._settings, self._compared = settings, compared
        self._writer: SummaryWriter | None = None

    def scalars(self, numbers: Mapping[str, float], *, kind: str, step: int) -> None:
        """Numbers `kind`/name at `step`."""
        with self._opened() as writer:
            for name, value in numbers.items():
                writer.add_scalar(f"{kind}/{name}", value, step)

    def image(self, name: str, pixels: Tensor, *, step: int) -> None:
        """An image [H, W, 3] uint8."""
        with self._opened() as writer:
            writer.add_image(name, pixels.numpy(), step, dataformats="HWC")

    def close(self) -> None:
        """Closes the event file; every value was flushed before."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()

    @contextmanager
    def _opened(self) -> Iterator[SummaryWriter]:
        """The writer, flushed at the end. Raises UserError if its folder cannot be written."""
        with explain_write_errors(self._folder):
            if self._writer is None:
                self._writer = SummaryWriter(self._folder, purge_step=self.purge_step)
                if self._settings:
                    self._writer.add_text("settings", self._settings)
                if self._compared:
                    self._writer.file_writer.add_summary(_session_start(self._compared))
            yield self._writer
            self._writer.flush()


def is_number(value: Any) -> bool:
    """Whether a value can be a scalar."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _session_start(settings: Mapping[str, Any]) -> Any:
    """TensorBoard's summary of the settings of a run.

    The summary of the whole experiment is left out: TensorBoard would take one run's for all runs. Without it
    TensorBoard lists the settings of every run, those that differ first.
    """
    shown = {key: value if is_number(value) else str(value) for key, value in settings.items()}
    _, start, _ = hparams(shown, {})
    return start
