"""Progress of training: log lines, throughput and time left."""

import math
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from slowfast_mlp.log.decode_failures import FailedVideos
from slowfast_mlp.log.run_log import RunLog, format_duration
from slowfast_mlp.log.running_sums import RunningSums

# Weight of the newest window in the smoothed time of a step.
ETA_SMOOTHING = 0.2


class Progress:
    """Times of a training run, and the lines that it writes every `log_period` steps.

    `steps_of_epochs` has the number of steps of every epoch. `shift` is how many more steps a run had done
    that was resumed with another batch size.
    """

    def __init__(
        self,
        log: RunLog,
        failed: FailedVideos,
        *,
        log_period: int,
        steps_of_epochs: Sequence[int],
    ):
        self.log = log
        self.failed = failed
        self.log_period = log_period
        self.steps_of_epochs = steps_of_epochs
        self.num_epochs = len(steps_of_epochs)
        self.shift = 0
        self._seconds_per_step: float | None = None
        self._resumed: dict[str, Any] = {}

    def resume(
        self, steps_of_epochs: Sequence[int], *, epoch: int, step: int, steps_done: int | None
    ) -> None:
        """Continues after `step` steps of epoch index `epoch`, `steps_done` of the run; the log forgets what
        an earlier run wrote beyond that.
        """
        counted = sum(steps_of_epochs[:epoch]) + step
        done = counted if steps_done is None else steps_done
        self.steps_of_epochs, self.shift = steps_of_epochs, done - counted
        self.log.rewind(step=done, epoch=epoch)

    def steps_before(self, epoch: int) -> int:
        """Steps of the run before epoch index `epoch`."""
        return self.shift + sum(self.steps_of_epochs[:epoch])

    def start_epoch(self, epoch: int, sums: RunningSums) -> None:
        """Starts epoch index `epoch`, or continues it after `load_state_dict`; `sums` are the sums of the
        current window.
        """
        before, self._resumed = self._resumed, {}
        self.epoch, self.num_steps, self._sums = epoch, self.steps_of_epochs[epoch], sums
        self._epoch_sums: dict[str, float] = before.get("epoch_sums", {})
        self._seconds_per_step = before.get("seconds_per_step", self._seconds_per_step)
        now = time.perf_counter()
        self._window_start = now - before.get("window_seconds", 0.0)
        self._epoch_start = now - before.get("epoch_seconds", 0.0)
        self._wait, self._epoch_wait = before.get("wait", 0.0), before.get("epoch_wait", 0.0)
        sums.load_state_dict(before.get("sums", {}))

    def state_dict(self) -> dict[str, Any]:
        """Sums and times of the current epoch on this rank; waits for the device."""
        now = time.perf_counter()
        return {
            "sums": self._sums.state_dict(),
            "epoch_sums": dict(self._epoch_sums),
            "seconds_per_step": self._seconds_per_step,
            "window_seconds": now - self._window_start,
            "epoch_seconds": now - self._epoch_start,
            "wait": self._wait,
            "epoch_wait": self._epoch_wait,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state when the next epoch starts."""
        self._resumed = state

    def add_wait(self, seconds: float) -> None:
        """Adds time that this rank waited for its next batch."""
        self._wait += seconds
        self._epoch_wait += seconds

    def is_due(self, step: int) -> bool:
        """Whether a line follows this step (from 0): every `log_period`, and at the end of the epoch."""
        return (step + 1) % self.log_period == 0 or step + 1 == self.num_steps

    def line(self, step: int, *, lr: float, sums: dict[str, float]) -> None:
        """Logs the window that ends with `step`, from the sums of the window over all ranks."""
        now = time.perf_counter()
        seconds, self._window_start = now - self._window_start, now
        num_steps = (step % self.log_period) + 1
        self._epoch_sums |= {name: self._epoch_sums.get(name, 0.0) + value for name, value in sums.items()}
        self._smooth(seconds / num_steps)
        step_in_run = self.steps_before(self.epoch) + step + 1
        rates, eta = _rates(sums), self._eta(step_in_run)
        num_skipped = _num_skipped(sums, num_steps)
        values = {
            **rates,
            "lr": lr,
            "clips_per_sec": sums["clips"] / seconds,
            "data_wait": min(1.0, self._wait / seconds),
            "failed_videos": len(self.failed),
            "skipped_steps": num_skipped,
        }
        self.log.info(
            f"train  epoch {self.epoch + 1}/{self.num_epochs}  step {step + 1}/{self.num_steps}"
            f"  loss {rates['loss']:.4f}{_top1(rates)}  {values['clips_per_sec']:.1f} clips/s"
            f"  data wait {100 * values['data_wait']:.0f} %  lr {lr:.2e}  eta {eta}"
            f"{_count('failed videos', len(self.failed))}{_count('skipped steps', num_skipped)}"
        )
        self.log.metrics("train", step=step_in_run, epoch=self.epoch + 1, **values)
        self.log.json_stats(
            epoch_level=False,
            _type="train_iter",
            iter=f"{step + 1}/{self.num_steps}",
            dt=seconds / num_steps,
            dt_data=self._wait / num_steps,
            dt_net=(seconds - self._wait) / num_steps,
            **self._stats(rates, lr, eta),
        )
        self._wait = 0.0
        self.failed.check_failed_fraction(
            num_failed=self._epoch_sums["failed"],
            num_clips=self._epoch_sums["clips"] / (step + 1) * self.num_steps,
            epoch=self.epoch,
        )

    def end_epoch(self, *, lr: float) -> None:
        """Logs the results of the epoch."""
        seconds = time.perf_counter() - self._epoch_start
        rates = _rates(self._epoch_sums)
        self.failed.gather()  # what other ranks replaced
        num_failed = len(self.failed)
        self.log.info(
            f"train  epoch {self.epoch + 1}/{self.num_epochs} done in {format_duration(seconds)}"
            f"  loss {rates['loss']:.4f}{_top1(rates)}"
            f"{_count('failed videos so far', num_failed)}"
        )
        step_in_run = self.steps_before(self.epoch + 1)
        values = {"lr": lr, "seconds": seconds, "data_wait": self._epoch_wait / seconds}
        values["failed_videos"] = num_failed
        self.log.metrics("train_epoch", step=step_in_run, epoch=self.epoch + 1, **rates, **values)
        stats = self._stats(rates, lr, self._eta(step_in_run))
        stats |= {"_type": "train_epoch", "dt": seconds, "RAM": f"{_memory_gib():.2f}G"}
        self.log.json_stats(epoch_level=True, **stats)

    def _smooth(self, seconds_per_step: float) -> None:
        """Adds the newest window to the smoothed time of a step."""
        smoothed = self._seconds_per_step
        if smoothed is not None:
            seconds_per_step = smoothed + ETA_SMOOTHING * (seconds_per_step - smoothed)
        self._seconds_per_step = seconds_per_step

    def _eta(self, step_in_run: int) -> str:
        """The time left after so many steps of the run."""
        left = self.steps_before(self.num_epochs) - step_in_run
        return format_duration(left * (self._seconds_per_step or 0))

    def _stats(self, rates: dict[str, float], lr: float, eta: str) -> dict[str, Any]:
        return {
            "epoch": f"{self.epoch + 1}/{self.num_epochs}",
            "eta": eta,
            "loss": rates["loss"],
            "lr": lr,
            "grad_norm": rates["grad_norm"],
            "gpu_mem": f"{_gpu_memory_gib():.2f}G",
            **{f"{name}_err": 100 - rates[name] for name in ("top1", "top5") if name in rates},
        }


def _rates(sums: dict[str, float]) -> dict[str, float]:
    """Means and percentages from sums over clips and steps; no accuracies if none were added.

    Loss and gradient norm are over the steps that were not skipped; NaN if all were.
    """
    clips, finite_clips = max(1.0, sums["clips"]), sums["finite_clips"]
    counted = {"top1": "correct", "top5": "correct5"}
    return {
        "loss": sums["loss"] / finite_clips if finite_clips else math.nan,
        **{rate: 100 * sums[name] / clips for rate, name in counted.items() if name in sums},
        "grad_norm": sums["grad_norm"] / sums["steps"] if sums["steps"] else math.nan,
    }


def _num_skipped(sums: dict[str, float], num_steps: int) -> int:
    """Number of skipped steps in a window. The sums count every step once per rank, and the number of ranks
    may have changed within a window, so the fraction of skipped steps decides.
    """
    share = sums["skipped"] / (sums["steps"] + sums["skipped"])
    return max(round(num_steps * share), int(sums["skipped"] > 0))


def _count(name: str, number: int) -> str:
    return f"  {name} {number}" if number else ""


def _top1(rates: dict[str, float]) -> str:
    return f"  top1 {rates['top1']:.1f} %" if "top1" in rates else ""


def _gpu_memory_gib() -> float:
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else 0.0


def _memory_gib() -> float:
    """Largest resident memory of this process so far; macOS counts in bytes, Linux in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20
