"""One run from its config: set up, train, test."""

from collections.abc import Callable, Sequence

from slowfast_mlp.config.schema import Config
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.run.fit import fit
from slowfast_mlp.run.resume import resume
from slowfast_mlp.run.session import open_session
from slowfast_mlp.run.setup import setup
from slowfast_mlp.run.splits import read_lists
from slowfast_mlp.run.summary import log_start
from slowfast_mlp.run.test import test

Report = Callable[..., None]  # report(output_dir, log, device, dist_timeout_sec=...)


def run(config: Config, *, quiet: bool = False, report_run: Report | None = None) -> None:
    """Trains and tests as the config says, as one of the run's processes.

    `quiet` shows warnings only. `report_run` writes the report after the run (REPORT.ENABLE). Raises
    UserError and Stopped.
    """
    with open_session(config, quiet=quiet) as session:
        log, device, precision = session.log, session.device, session.precision
        videos = read_lists(config)
        parts = setup(config, videos, device=device, precision=precision, log=log)
        log_start(log, config, parts.model, device, precision, videos)
        if parts.training:
            start = resume(config, parts.training)
            fit(parts.training, start, config.train, session)
        if parts.test_evaluator:
            test(config, parts.model, parts.test_evaluator, session, videos["test"])
        if report_run and config.report.enable and dist.rank() == 0:
            session.watchdog.note("writing the report")
            report_run(config.output_dir, log, device, dist_timeout_sec=config.dist_timeout_sec)


def run_all(configs: Sequence[Config], *, quiet: bool = False, report_run: Report | None = None) -> None:
    """Runs one after the other, in the same processes."""
    for config in configs:
        run(config, quiet=quiet, report_run=report_run)
