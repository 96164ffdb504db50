"""Weights for rows that have none: small models, trained here on the embedded videos."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from slowfast_mlp.apps.reproduce.plan import TestInputs, TestPlan
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.config.load import load_config
from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.run.main import run

TRAINING = "training"  # folder of the trainings' own output

logger = logging.getLogger(__name__)


def train_missing(plans: Sequence[TestPlan], inputs: TestInputs, output_dir: str) -> TestInputs:
    """What was given and, for rows without weights, those of a training of their config, with the overrides
    of the first of its rows. A training that was broken off goes on. Raises UserError and Stopped.
    """
    trained: dict[str, str] = {}
    checkpoints = dict(inputs.checkpoints)
    for plan in plans:
        if not plan.checkpoint:
            path = plan.row.config
            trained[path] = trained.get(path) or _train(plan, os.path.join(output_dir, TRAINING))
            checkpoints[plan.row.name] = trained[path]
    return replace(inputs, checkpoints=checkpoints)


def _train(plan: TestPlan, folder: str) -> str:
    """The checkpoint at the end of the training."""
    output_dir = os.path.join(folder, Path(plan.row.config).stem)
    only_training = ("TRAIN.ENABLE", "True", "TRAIN.EVAL_PERIOD", "0", "TEST.ENABLE", "False")
    config = load_config(plan.row.config, [*plan.overrides, *only_training, "OUTPUT_DIR", output_dir])
    logger.info("training %s, for %s", plan.row.config, plan.row.name)
    launch(partial(run, config), num_gpus=config.num_gpus, timeout_sec=config.dist_timeout_sec)
    return checkpoint.newest(output_dir)
