"""When a training is saved, and what of it is kept."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from slowfast_mlp.builders.loaders import TrainSampler
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.async_writer import AsyncWriter
from slowfast_mlp.checkpoint.rank_state import RankState, mean_buffers
from slowfast_mlp.checkpoint.weights import EMA_KEY, check_finite
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.distributed import data_parallel
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed.signals import StopSignals
from slowfast_mlp.errors import Stopped, UserError
from slowfast_mlp.log.progress import Progress
from slowfast_mlp.run.resume import circumstances


class Keeper:
    """The checkpoints of a training: after epochs, steps or minutes, when a signal asks to stop or too many
    steps were skipped, the newest and the best.

    All ranks hold one and call the same. Rank 0 writes, in a thread, from a copy: a step waits for the copy,
    and for the file before if that is still being written.
    """

    def __init__(
        self,
        config: Config,
        parts: Mapping[str, checkpoint.Stateful],
        own: RankState,
        *,
        sampler: TrainSampler,
        progress: Progress,
        stop: StopSignals,
        label_names: Sequence[str],
    ):
        self.config = config
        self.parts = parts
        self.own = own
        self.sampler = sampler
        self.progress = progress
        self.stop = stop
        self.label_names = label_names
        self._polls = dist.Polls()
        self._writer = AsyncWriter()
        self._is_stopping = self._is_due = self._has_asked = False
        self._saved_at = time.monotonic()
        self._is_settled = True
        self._newest: str | None = None  # of the epoch that has just ended

    def end_step(self, step: int) -> None:
        """Saves within an epoch, `step` steps of which are done, if that is due. Raises Stopped once that is
        saved, and UserError if a file could not be written or too many steps were skipped, all of them on all
        ranks at the same step.
        """
        epoch, in_run = self.sampler.epoch, self.progress.steps_before(self.sampler.epoch) + step
        asks_to_save = self._is_time()
        self._has_asked |= asks_to_save
        stop, save, has_failed = self._polls.ask(
            self.stop.received is not None, asks_to_save, self._writer.has_failed
        )
        if has_failed:
            self._demand_written()
        self._is_stopping |= stop
        self._is_due |= save or _is_multiple(in_run, self.config.train.checkpoint_period_steps)
        must_save = self._is_due or self._is_stopping or self.own.skipped.excess
        if must_save and step < self.sampler.num_steps(epoch):
            path = self._save(step)
            self._demand_few_skipped(path)
            if self._is_stopping:
                self._leave(f"epoch {epoch + 1}, step {step}", path)

    def must_leave(self) -> bool:
        """Whether a signal has asked any rank to stop, between two steps that are none of training. All ranks
        must call this, which raises as `end_step`.
        """
        stop, save, has_failed = self._polls.ask(
            self.stop.received is not None, False, self._writer.has_failed
        )
        if has_failed:
            self._demand_written()
        self._is_due |= save
        self._is_stopping |= stop
        return self._is_stopping

    def end_epoch(self, epoch: int, *, is_settled: bool) -> None:
        """Saves after epoch index `epoch`, if that is due; raises as `end_step`. Unless `is_settled` its
        running statistics are still to be made what they are to be.
        """
        self._is_settled = is_settled
        period, num_epochs = self.config.train.checkpoint_period, self.progress.num_epochs
        is_last = epoch + 1 == num_epochs
        stop, save, _ = self._polls.close() or (False,) * 3  # what was asked in the last step
        self._is_stopping |= stop
        self._is_due |= save or is_last or _is_multiple(epoch + 1, period)
        self._newest = None
        if self._is_due or self._is_stopping or self.own.skipped.excess:
            self._newest = self._save(self.sampler.num_steps(epoch))
            self._demand_few_skipped(self._newest)
        if self._is_stopping:
            self._leave(f"epoch {epoch + 1}", self._newest)

    def keep_best(self) -> None:
        """Keeps what the epoch that has just ended, or the checkpoint that was taken up, came to."""
        if not self.config.train.keep_best:
            return
        self._demand_written()
        contents = None if self._newest else self._snapshot(self.sampler.num_steps(self.sampler.epoch))
        if dist.rank() != 0:
            return
        if self._newest:
            self._writer.submit(partial(checkpoint.keep_as_best, self._newest))
        else:
            save = partial(checkpoint.save, self.config.output_dir, contents, checkpoint.BEST)
            self._writer.submit(save)

    def finish(self) -> None:
        """Returns when all files are there, for every rank to see."""
        self._polls.close()
        self._demand_written()

    def take_up(self, path: str | None) -> None:
        """Tells the checkpoint that training goes on from."""
        self._newest = path

    def _is_time(self) -> bool:
        minutes = self.config.train.checkpoint_period_minutes
        if minutes is None or self._has_asked or dist.rank() != 0:
            return False
        return time.monotonic() - self._saved_at >= 60 * minutes

    def _save(self, step: int) -> str:
        """Starts to write the checkpoint after `step` steps of the sampler's epoch; returns its path."""
        self._demand_written()
        contents = self._snapshot(step)
        path = f"{checkpoint.folder(self.config.output_dir)}/" + checkpoint.file_name(
            contents["epoch"] + 1, contents["step"]
        )
        if dist.rank() == 0:
            self._writer.submit(partial(self._write, contents))
        self._is_due = self._has_asked = False
        self._saved_at = time.monotonic()
        return path

    def _write(self, contents: dict[str, Any]) -> None:
        checkpoint.save(self.config.output_dir, contents)
        if self.config.train.keep_last is not None:
            checkpoint.prune(self.config.output_dir, self.config.train.keep_last)

    def _snapshot(self, step: int) -> dict[str, Any]:
        """The contents of a checkpoint; on other ranks than 0 nothing. All must call this."""
        check_finite(self.parts["model"])
        position = self.sampler.state_dict(step)
        epoch = self.sampler.epoch
        self.own.skipped.look(epoch=epoch, num_steps=self.sampler.num_steps(epoch))
        data_parallel.gather_optimizer_state(self.parts["optimizer"])
        states = dist.gather_objects(self.own.state_dict(in_epoch=position["step"] > 0))
        if dist.rank() != 0:
            return {"epoch": position["epoch"] - 1, "step": position["step"]}
        contents = checkpoint.snapshot(
            self.parts,
            epoch=position["epoch"] - 1,
            step=position["step"],
            config_text=dump_config(self.config),
            label_names=self.label_names,
            also={
                "steps_done": self.progress.steps_before(position["epoch"]) + position["step"],
                "sampler_state": position,
                "rank_states": states,
                "is_settled": self._is_settled,
                "ran_on": circumstances(self.config),
            },
        )
        # To test such a file is to test what the end of an epoch would make of the ranks' statistics.
        weights = {"buffers": contents["model_state"]}
        if "ema" in self.parts:
            weights["ema_buffers"] = contents[EMA_KEY]["weights"]
        for key, values in weights.items():
            means = mean_buffers(states, key)
            values |= {name: mean for name, mean in means.items() if name in values}
        return contents

    def _demand_written(self) -> None:
        """Waits for the writer. Raises its UserError on all ranks."""
        error = ""
        try:
            self._writer.wait()
        except (UserError, OSError) as failure:
            error = f"{failure}" if isinstance(failure, UserError) else f"{failure}."
        if error := next(filter(None, dist.gather_objects(error)), ""):
            newest = checkpoint.newest(self.config.output_dir)
            remains = f"the same command goes on from {newest}" if newest else "there is no checkpoint yet"
            raise UserError(f"{error} Training has stopped; {remains}.")

    def _demand_few_skipped(self, path: str) -> None:
        """Raises UserError if too many steps were skipped, once `path` has the weights before them."""
        if excess := self.own.skipped.excess:
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
