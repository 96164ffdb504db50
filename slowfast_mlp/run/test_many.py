"""Several tests in one: models that are asked for the same views of the same videos see each clip once."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch

from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.checkpoint.output_lock import OutputLock
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config, Data, Model, Test, Train
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed import rank_checks
from slowfast_mlp.engine import results
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.log.run_log import RunLog
from slowfast_mlp.run.main import model_of
from slowfast_mlp.run.splits import read_lists
from slowfast_mlp.run.summary import start_of_run
from slowfast_mlp.run.test import Tested, evaluator_of_test, load_tested, tell

# Settings of DATA that only training reads.
OF_TRAINING = (
    "skip_list",
    "max_failed_fraction",
    "train_jitter_scales_relative",
    "train_jitter_aspect_relative",
    "random_flip",
    "train_interpolation",
)

logger = logging.getLogger(__name__)


def run_together(configs: Sequence[Config]) -> None:
    """Tests the weights of every config, as one of the run's processes: each OUTPUT_DIR gets what a test of
    its own would write, byte for byte the same predictions, but every video is decoded once for all.

    The configs train nothing, agree in `views_of`, and have different OUTPUT_DIRs; what concerns the machine
    (NUM_GPUS, DATA_LOADER ...) is the first one's. Raises UserError.
    """
    first = configs[0]
    if any(views_of(config) != views_of(first) for config in configs):
        raise ValueError("the configs do not ask for the same views of the same videos")
    torch.backends.cudnn.deterministic = True
    with ExitStack() as stack:
        for config in configs:
            if lock := rank_checks.rank_zero_only(partial(OutputLock, config.output_dir)):
                stack.enter_context(lock)
        watchdog = stack.enter_context(rank_checks.watchdog(first.watchdog_sec))
        device = dist.device(first.num_gpus)
        with _log_of(first) as log:
            if processes := rank_checks.preflight(device):
                log.info(f"{dist.world_size()} processes\n{processes}")
            precision = Precision(first.train.precision, device)
            videos = read_lists(first)
        tested = [_loaded(config, device, precision, videos) for config in configs]
        evaluator = evaluator_of_test(first, precision, device, videos["test"], watchdog)
        with _log_of(first) as log:
            if len(configs) > 1:
                log.info(
                    f"{len(configs)} models see the same clips: {', '.join(c.output_dir for c in configs)}"
                )
            evaluations = evaluator(
                [one.candidate for one in tested],
                progress=partial(results.log_test_progress, log, first.log_period),
            )
        for config, one, evaluation in zip(configs, tested, evaluations):
            with _log_of(config) as log:
                tell(config, log, one, evaluation, videos["test"])


def _log_of(config: Config) -> RunLog:
    return RunLog(config.output_dir, enabled=dist.rank() == 0, tensorboard=config.tensorboard.enable)


def _loaded(config: Config, device: torch.device, precision: Precision, videos: dict) -> Tested:
    """A model with its weights, and the block at the start of its log."""
    with _log_of(config) as log:
        if config.test.checkpoint_file_path:
            checkpoint.check_file(config.test.checkpoint_file_path)
        model = model_of(config, device)
        if log.enabled:
            facts = start_of_run(config, model, device, precision, videos)
            log.info(results.format_facts(facts))
            results.write_environment(config.output_dir, facts)
        return load_tested(config, model, videos["test"].label_names)


def settings_of_test(config: Config) -> str:
    """What the figures of a test depend on beside weights and videos, as YAML: equal texts, equal figures."""
    defaults = Data()
    kept = Config(
        train=Train(enable=False, dataset=config.train.dataset, precision=config.train.precision),
        test=replace(
            config.test, enable=True, checkpoint_file_path="", max_failed_fraction=Test().max_failed_fraction
        ),
        data=replace(config.data, **{name: getattr(defaults, name) for name in OF_TRAINING}),
        model=replace(config.model, sync_bn=False, act_checkpoint=False),
        rng_seed=config.rng_seed,
        output_dir="",
    )
    return dump_config(kept)


def views_of(config: Config) -> str:
    """Which views of which videos a test asks for and how they pass through a model, as YAML: tests with
    equal texts can share them.
    """
    data = replace(config.data, train_crop_size=config.data.test_crop_size)
    test = replace(config.test, ensemble=Test().ensemble)
    model = Model(num_classes=config.model.num_classes)
    return settings_of_test(replace(config, data=data, test=test, model=model))
