"""What the rows' models cost, counted here, and remembered: the large ones take seconds each."""

import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

from slowfast_mlp.config.load import load_config
from slowfast_mlp.reproduce.files import read_json, write_json
from slowfast_mlp.reproduce.plan import Plan
from slowfast_mlp.run.together import cost_of, model_in_words

CACHE = "costs.json"

logger = logging.getLogger(__name__)


class Cost(NamedTuple):
    """Parameters in millions, and GFLOPs (1e9 multiply-adds) over all views of a video."""

    params: float
    gflops: float


def count_costs(plans: Sequence[Plan], output_dir: str) -> dict[str, Cost]:
    """The costs by the names of rows; what `output_dir` remembers of an earlier run is not counted again.
    Raises UserError.
    """
    path = os.path.join(output_dir, CACHE)
    known: dict[str, list[int]] = read_json(path) or {}
    costs = {}
    for plan in plans:
        config = load_config(plan.row.config, plan.overrides)
        key = model_in_words(config)
        if key not in known:
            logger.info("counting the parameters and FLOPs of %s", plan.row.name)
            known[key] = list(cost_of(config))
            write_json(path, known)
        params, flops = known[key]
        costs[plan.row.name] = Cost(params / 1e6, flops * plan.num_views / 1e9)
    return costs
