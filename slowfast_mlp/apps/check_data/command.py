"""The settings of a config, the lists that it reads, and their files, checked (tools/check_data.py)."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from slowfast_mlp.apps.check_data.report import CheckReport, check_lists
from slowfast_mlp.builders import annotations
from slowfast_mlp.config.schema import Config, Data
from slowfast_mlp.data.clip_sampling import clip_span
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.errors import UserError
from slowfast_mlp.run.setup import setup
from slowfast_mlp.run.splits import splits_to_read

logger = logging.getLogger(__name__)

CACHE_NAME = "check_data.jsonl"


def check(
    config: Config,
    *,
    split: str | None,
    decode: str,
    num_processes: int,
    timeout_sec: float,
    cache: Path | None,
) -> CheckReport:
    """Checks what a run with the config makes of its settings, then one split, or all that it would read,
    without what DATA.SKIP_LIST leaves out of training; the cache is by default in OUTPUT_DIR.

    Raises UserError.
    """
    datasets = splits_to_read(config.train, config.test)
    sampling = {name: annotations.sampling(config.data, dataset) for name, dataset in datasets.items()}
    if split and split not in datasets:
        raise UserError(f"--split {split}: the config reads {', '.join(datasets)} only.")
    videos = {
        name: annotations.without_skipped(config.data, annotations.listed(config.data, dataset, name), name)
        for name, dataset in datasets.items()
        if split in (None, name)
    }
    cpu = torch.device("cpu")
    dry_run = partial(setup, config, videos, device=cpu, precision=Precision("fp32", cpu))
    refused = _refusals(dry_run)
    for text in refused:
        logger.warning("run_net.py refuses: %s", text)  # known now, not after hours
    return check_lists(
        videos,
        refused,
        num_classes=config.model.num_classes,
        frames_needed=partial(frames_needed, config.data, sampling),
        decode=decode,
        decoder=config.data.decoder,
        num_processes=num_processes,
        timeout_sec=timeout_sec,
        cache=cache or Path(config.output_dir) / CACHE_NAME,
    )


def _refusals(dry_run: Callable[[], object]) -> list[str]:
    """The reason if a dry run is refused."""
    try:
        dry_run()
    except UserError as error:
        return [str(error)]
    return []


def frames_needed(data: Data, sampling: dict[str, str], split: str, fps: float) -> float:
    """Frames of a video of `fps` that give a clip without repeats; pictures have no rate (0).

    `sampling` is the rule of each split: a dense clip spans many frames, segments need one each.
    """
    if sampling[split] == "segments" or not fps:
        return data.num_frames
    return clip_span(data.num_frames, data.sampling_rate, fps, data.target_fps)
