"""What a run holds open from its first line to its last: lock, log, watchdog and signal handlers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from slowfast_mlp.checkpoint.output_lock import OutputLock
from slowfast_mlp.config.diff import all_settings, changed_settings
from slowfast_mlp.config.schema import Config
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed import rank_checks
from slowfast_mlp.distributed.signals import StopSignals
from slowfast_mlp.distributed.watchdog import Watchdog
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.log.run_log import RunLog


@dataclass(frozen=True, kw_only=True)
class Session:
    """One process of a run: its device and arithmetic, and what it reports to."""

    stop: StopSignals
    log: RunLog
    watchdog: Watchdog
    device: torch.device
    precision: Precision


@contextmanager
def open_session(config: Config, *, quiet: bool) -> Iterator[Session]:
    """Locks OUTPUT_DIR, opens the log and checks that all ranks are there. Raises UserError and Stopped."""
    torch.backends.cudnn.deterministic = True  # a run repeats bit for bit
    settings = all_settings(config)
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignals())
        if lock := rank_checks.rank_zero_only(lambda: OutputLock(config.output_dir)):
            stack.enter_context(lock)
        log = RunLog(
            config.output_dir,
            enabled=dist.rank() == 0,
            tensorboard=config.tensorboard.enable,
            quiet=quiet,
            settings=_as_markdown(changed_settings(settings)),
            compared={key: value for key, value in settings.items() if key != "OUTPUT_DIR"},
        )
        stack.enter_context(log)
        watchdog = stack.enter_context(rank_checks.watchdog(config.watchdog_sec))
        device = dist.device(config.num_gpus)
        if processes := rank_checks.preflight(device):
            log.info(f"{dist.world_size()} processes\n{processes}")
        precision = Precision(config.train.precision, device)
        yield Session(stop=stop, log=log, watchdog=watchdog, device=device, precision=precision)


def _as_markdown(settings: dict[str, Any]) -> str:
    """A table, as TensorBoard shows it."""
    rows = [f"| {key} | {value} |" for key, value in settings.items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])
