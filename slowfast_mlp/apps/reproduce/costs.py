"""What the rows' models cost, counted here, and remembered: the large ones take seconds each."""

import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple

from slowfast_mlp.apps.reproduce.files import read_json, write_json
from slowfast_mlp.apps.reproduce.plan import TestPlan
from slowfast_mlp.builders.model import model_for
from slowfast_mlp.config.load import load_config
from slowfast_mlp.config.schema import Data, Model
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.distributed.launch import gpus_to_use
from slowfast_mlp.engine import results
from slowfast_mlp.engine.flops import count_flops, count_parameters

CACHE = "costs.json"

logger = logging.getLogger(__name__)


class Cost(NamedTuple):
    """Parameters in millions, and GFLOPs (1e9 multiply-adds) over all views of a video."""

    params: float
    gflops: float


def count_costs(plans: Sequence[TestPlan], output_dir: str) -> dict[str, Cost]:
    """The costs by the names of rows; what `output_dir` remembers of an earlier run is not counted again.
    Raises UserError.
    """
    path = os.path.join(output_dir, CACHE)
    known: dict[str, list[int]] = read_json(path) or {}
    costs = {}
    for plan in plans:
        config = load_config(plan.row.config, plan.overrides)
        key = model_cost_key(config.model, config.data)
        if key not in known:
            logger.info("counting the parameters and FLOPs of %s", plan.row.name)
            known[key] = list(cost_of(config.model, config.data))
            write_json(path, known)
        params, flops = known[key]
        costs[plan.row.name] = Cost(params / 1e6, flops * plan.num_views / 1e9)
    return costs


def machine_of(num_gpus: int | None) -> str:
    """The kind of machine that a test with NUM_GPUS runs on, and torch's version."""
    processes = gpus_to_use(num_gpus)
    several = f"{processes} x " if processes > 1 else ""
    return f"{several}{results.describe_device(dist.device(num_gpus))}, torch {version('torch')}"


def model_cost_key(model: Model, data: Data) -> str:
    """What a model's cost depends on: equal texts, equal costs."""
    sizes = f"{data.num_frames} x {data.train_crop_size}, {data.test_crop_size}"
    return f"{model.name} {model.variant} {model.num_classes} {model.args} {sizes}"


def cost_of(model: Model, data: Data) -> tuple[int, int]:
    """Parameters of the model, and multiply-adds of one view as the papers count them, on the CPU."""
    net = model_for(model, data)
    clip_shape = (3, data.num_frames, data.test_crop_size, data.test_crop_size)
    return count_parameters(net), count_flops(net, clip_shape)
