"""One run from its config: build, train, test."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from slowfast_mlp.builders import model as model_builder
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.output_lock import OutputLock
from slowfast_mlp.config.diff import all_settings, changed_settings
from slowfast_mlp.config.schema import Config
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed import rank_checks
from slowfast_mlp.distributed.signals import StopSignals
from slowfast_mlp.engine import results
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.log.run_log import RunLog
from slowfast_mlp.run.splits import read_lists
from slowfast_mlp.run.summary import start_of_run
from slowfast_mlp.run.test import test
from slowfast_mlp.run.train import train

Report = Callable[..., None]  # report(output_dir, log, device, dist_timeout_sec=...)


def run(config: Config, *, quiet: bool = False, report_run: Report | None = None) -> None:
    """Trains and tests as the config says, as one of the run's processes.

    `quiet` shows warnings only. `report_run` writes the report after the run (REPORT.ENABLE). Raises
    UserError and Stopped.
    """
    torch.backends.cudnn.deterministic = True  # a run repeats bit for bit
    is_first = dist.rank() == 0
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignals())
        if lock := rank_checks.rank_zero_only(lambda: OutputLock(config.output_dir)):
            stack.enter_context(lock)
        log = stack.enter_context(
            RunLog(
                config.output_dir,
                enabled=is_first,
                tensorboard=config.tensorboard.enable,
                quiet=quiet,
                settings=_as_markdown(changed_settings(config)),
                compared={key: value for key, value in all_settings(config).items() if key != "OUTPUT_DIR"},
            )
        )
        watchdog = stack.enter_context(rank_checks.watchdog(config.watchdog_sec))
        device = dist.device(config.num_gpus)
        if processes := rank_checks.preflight(device):
            log.info(f"{dist.world_size()} processes\n{processes}")
        precision = Precision(config.train.precision, device)
        model = model_of(config, device)
        videos = read_lists(config)
        for path in (config.train.checkpoint_file_path, config.test.checkpoint_file_path):
            checkpoint.check_file(path) if path else None
        if is_first:
            facts = start_of_run(config, model, device, precision, videos)
            log.info(results.format_facts(facts))
            results.write_environment(config.output_dir, facts)
        parts = dict(
            log=log, model=model, precision=precision, device=device, videos=videos, watchdog=watchdog
        )
        if config.train.enable:
            train(config, stop=stop, **parts)
        if config.test.enable:
            test(config, **parts)
        if report_run and config.report.enable and is_first:
            watchdog.note("writing the report")
            report_run(config.output_dir, log, device, dist_timeout_sec=config.dist_timeout_sec)


def _as_markdown(settings: dict[str, Any]) -> str:
    """A table, as TensorBoard shows it."""
    rows = [f"| {key} | {value} |" for key, value in settings.items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def model_of(config: Config, device: torch.device) -> nn.Module:
    """The model with its initial weights."""
    torch.manual_seed(config.rng_seed)
    return model_builder.model_for(config.model, config.data).to(device)


def run_all(configs: Sequence[Config], *, quiet: bool = False, report_run: Report | None = None) -> None:
    """Runs one after the other, in the same processes."""
    for config in configs:
        run(config, quiet=quiet, report_run=report_run)
