"""Tests of several models on one decoding pass."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch

from slowfast_mlp.builders.loaders import EvalViews
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.output_lock import OutputLock
from slowfast_mlp.config.diff import VIEWS, describe_settings
from slowfast_mlp.config.schema import Config, TensorBoard
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed import rank_checks
from slowfast_mlp.engine import results
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.log.run_log import RunLog
from slowfast_mlp.run.setup import build_evaluator, build_model
from slowfast_mlp.run.splits import read_lists
from slowfast_mlp.run.summary import log_start, protocol
from slowfast_mlp.run.test import TEST_CONFIG, Tested, load_tested, report_test


def run_tests(configs: Sequence[Config]) -> None:
    """Tests the weights of every config, as one of the run's processes.

    Each OUTPUT_DIR gets what a test of its own would write, byte for byte the same predictions, but every
    video is decoded once for all. The configs train nothing, ask for the same views, and have different
    OUTPUT_DIRs. Settings of the machine (NUM_GPUS, DATA_LOADER ...) are those of the first. Raises UserError.
    """
    first = configs[0]
    if len({describe_settings(config, VIEWS) for config in configs}) > 1:
        raise ValueError("the configs do not ask for the same views of the same videos")
    torch.backends.cudnn.deterministic = True
    with ExitStack() as stack:
        for config in configs:
            if lock := rank_checks.rank_zero_only(partial(OutputLock, config.output_dir)):
                stack.enter_context(lock)
        watchdog = stack.enter_context(rank_checks.watchdog(first.watchdog_sec))
        device = dist.device(first.num_gpus)
        with _open_log(first.output_dir, first.tensorboard) as log:
            if processes := rank_checks.preflight(device):
                log.info(f"{dist.world_size()} processes\n{processes}")
            precision = Precision(first.train.precision, device)
            videos = read_lists(first)
        tested = [_loaded(config, device, precision, videos) for config in configs]
        views = EvalViews.of_test(first.test, first.data, dataset=first.train.dataset)
        evaluator = build_evaluator(first, videos["test"], views, device, precision)
        evaluator = replace(evaluator, loader=watchdog.watch(evaluator.loader, "the test"))
        with _open_log(first.output_dir, first.tensorboard) as log:
            if len(configs) > 1:
                log.info(
                    f"{len(configs)} models see the same clips: {', '.join(c.output_dir for c in configs)}"
                )
            progress = partial(results.log_test_progress, log, first.log_period)
            evaluations = evaluator([one.model for one in tested], progress=progress)
        for config, one, evaluation in zip(configs, tested, evaluations):
            with _open_log(config.output_dir, config.tensorboard) as log:
                test_protocol = protocol(config.test, config.data, config.train.dataset)
                allowed = config.test.max_failed_fraction
                report_test(log, one, evaluation, videos["test"], test_protocol, TEST_CONFIG, allowed)


def _open_log(output_dir: str, tensorboard: TensorBoard) -> RunLog:
    return RunLog(output_dir, enabled=dist.rank() == 0, tensorboard=tensorboard.enable)


def _loaded(config: Config, device: torch.device, precision: Precision, videos: dict) -> Tested:
    """A model with its weights, and the block at the start of its log."""
    with _open_log(config.output_dir, config.tensorboard) as log:
        if config.test.checkpoint_file_path:
            checkpoint.check_file(config.test.checkpoint_file_path)
        model = build_model(config.model, config.data, config.rng_seed, device)
        log_start(log, config, model, device, precision, videos)
        return load_tested(config, model, videos["test"].label_names)
