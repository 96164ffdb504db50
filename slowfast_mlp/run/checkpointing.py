"""When a training is saved, and which checkpoints are kept."""

import time
from functools import partial
from typing import Any

from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.async_writer import AsyncWriter
from slowfast_mlp.config.schema import Train
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed.signals import StopSignals
from slowfast_mlp.engine.training import Training
from slowfast_mlp.errors import Stopped, UserError


class Checkpointer:
    """Saves a training after epochs, steps or minutes (TRAIN.CHECKPOINT_PERIOD ...), when a signal asks to
    stop, and when too many steps were skipped; keeps the newest checkpoints and the best.

    Every rank must construct it and make the same calls (collective). Rank 0 writes, in a thread, from a
    copy: a step waits for the copy, and for the previous file if that is still being written.
    """

    def __init__(
        self,
        training: Training,
        settings: Train,
        *,
        output_dir: str,
        stop: StopSignals,
        resumed_from: str | None = None,
    ):
        self.training = training
        self.settings = settings
        self.output_dir = output_dir
        self.stop = stop
        self._polls = dist.Polls()
        self._writer = AsyncWriter()
        self._is_stopping = self._is_due = self._has_asked = False
        self._saved_at = time.monotonic()
        self._newest = resumed_from  # the checkpoint of the epoch that has just ended

    def end_step(self, step: int) -> None:
        """Saves within an epoch, `step` steps of which are done, if that is due.

        Raises Stopped once that is saved, and UserError if a file could not be written or too many steps were
        skipped; all of them on all ranks at the same step.
        """
        sampler, progress = self.training.sampler, self.training.progress
        asks_to_save = self._is_time()
        self._has_asked |= asks_to_save
        stop, save, has_failed = self._polls.ask(
            self.stop.received is not None, asks_to_save, self._writer.has_failed
        )
        if has_failed:
            self._check_written()
        self._is_stopping |= stop
        step_of_run = progress.steps_before(sampler.epoch) + step
        self._is_due |= save or _is_multiple(step_of_run, self.settings.checkpoint_period_steps)
        if self._must_save() and step < sampler.num_steps(sampler.epoch):
            path = self._save(step)
            self._check_skipped_steps(path)
            if self._is_stopping:
                self._leave(f"epoch {sampler.epoch + 1}, step {step}", path)

    def must_stop(self) -> bool:
        """Whether a signal has asked any rank to stop, between two batches that are not training steps.

        All ranks must call this, which raises as `end_step`.
        """
        stop, save, has_failed = self._polls.ask(
            self.stop.received is not None, False, self._writer.has_failed
        )
        if has_failed:
            self._check_written()
        self._is_due |= save
        self._is_stopping |= stop
        return self._is_stopping

    def end_epoch(self, epoch: int, *, bn_synced: bool) -> None:
        """Saves after epoch index `epoch`, if that is due; raises as `end_step`.

        With `bn_synced=False` the running statistics of batch norm are incomplete; resuming recomputes them.
        """
        self.training.bn_synced = bn_synced
        is_last = epoch + 1 == self.training.progress.num_epochs
        stop, save, _ = self._polls.close() or (False,) * 3  # the answers of the last step
        self._is_stopping |= stop
        self._is_due |= save or is_last or _is_multiple(epoch + 1, self.settings.checkpoint_period)
        self._newest = None
        if self._must_save():
            self._newest = self._save(self.training.sampler.num_steps(epoch))
            self._check_skipped_steps(self._newest)
        if self._is_stopping:
            self._leave(f"epoch {epoch + 1}", self._newest)

    def keep_best(self) -> None:
        """Keeps the epoch that has just ended, or the checkpoint that was resumed, as best.pyth."""
        if not self.settings.keep_best:
            return
        self._check_written()
        sampler = self.training.sampler
        contents = None if self._newest else self.training.state_dict(sampler.num_steps(sampler.epoch))
        if dist.rank() != 0:
            return
        if self._newest:
            self._writer.submit(partial(checkpoint.keep_as_best, self._newest))
        else:
            self._writer.submit(partial(checkpoint.save, self.output_dir, contents, checkpoint.BEST))

    def finish(self) -> None:
        """Returns when all files are written, for every rank to see."""
        self._polls.close()
        self._check_written()

    def _must_save(self) -> bool:
        return bool(self._is_due or self._is_stopping or self.training.skipped_steps.excess)

    def _is_time(self) -> bool:
        minutes = self.settings.checkpoint_period_minutes
        if minutes is None or self._has_asked or dist.rank() != 0:
            return False
        return time.monotonic() - self._saved_at >= 60 * minutes

    def _save(self, step: int) -> str:
        """Starts to write the checkpoint after `step` steps of the sampler's epoch; returns its path."""
        self._check_written()
        contents = self.training.state_dict(step)
        name = checkpoint.file_name(contents["epoch"] + 1, contents["step"])
        if dist.rank() == 0:
            self._writer.submit(partial(self._write, contents))
        self._is_due = self._has_asked = False
        self._saved_at = time.monotonic()
        return f"{checkpoint.folder(self.output_dir)}/{name}"

    def _write(self, contents: dict[str, Any]) -> None:
        checkpoint.save(self.output_dir, contents)
        if self.settings.keep_last is not None:
            checkpoint.prune(self.output_dir, self.settings.keep_last)

    def _check_written(self) -> None:
        """Waits for the writer. Raises its UserError on all ranks."""
        error = ""
        try:
            self._writer.wait()
        except (UserError, OSError) as failure:
            error = f"{failure}" if isinstance(failure, UserError) else f"{failure}."
        if error := next(filter(None, dist.gather_objects(error)), ""):
            newest = checkpoint.newest(self.output_dir)
            remains = f"the same command goes on from {newest}" if newest else "there is no checkpoint yet"
            raise UserError(f"{error} Training has stopped; {remains}.")

    def _check_skipped_steps(self, path: str) -> None:
        """Raises UserError if too many steps were skipped, once `path` has the weights before them."""
        if excess := self.training.skipped_steps.excess:
            self.finish()
            raise UserError(
                f"{excess} {path} holds the weights before them: the same command goes on with the next step."
            )

    def _leave(self, where: str, path: str) -> None:
        self.finish()
        name = self.stop.received.name if self.stop.received else "a signal to another process"
        raise Stopped(f"stopped by {name} after {where}; saved {path}")


def _is_multiple(number: int, period: int | None) -> bool:
    return period is not None and number % period == 0
