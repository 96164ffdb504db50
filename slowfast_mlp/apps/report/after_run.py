"""The page of a run, written when the run is over."""

import logging

import torch

from slowfast_mlp.apps.report.write import ReportFiles, write_report
from slowfast_mlp.errors import UserError
from slowfast_mlp.log.run_log import RunLog

# No further video is looked at after this: on a processor a large model takes a minute for each.
MAX_SECONDS = 60.0
# All that can go wrong with files, their contents and memory. What was trained and tested is saved by then,
# and must not look as if it had failed.
FAILURES = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError)
FAILURES += (RuntimeError, TypeError, UserError, ValueError)

logger = logging.getLogger(__name__)


def report_run(output_dir: str, log: RunLog, device: torch.device, *, dist_timeout_sec: float) -> None:
    """Writes report.html into the run's folder and its pictures to TensorBoard; where that fails, a warning
    with the reason. Other ranks wait for this one at the end of the run, no longer than `dist_timeout_sec`.
    """
    max_seconds = min(MAX_SECONDS, dist_timeout_sec / 4)
    try:
        files = write_report(output_dir, device=str(device), max_seconds=max_seconds)
        _to_tensorboard(log, files)
    except FAILURES as error:
        logger.warning(
            "the run is over and saved, but its report could not be written (%s: %s); "
            "tools/report.py %s tries again",
            type(error).__name__,
            error,
            output_dir,
            exc_info=not isinstance(error, (UserError, OSError)),
        )
        return
    log.info(f"report {files.path}")


def _to_tensorboard(log: RunLog, files: ReportFiles) -> None:
    for name, pixels in files.pictures.items():
        log.image(f"report/{name}", pixels, step=files.epoch)
