"""The tests of rows: which are done already, which share their clips, and what they gave."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from slowfast_mlp.apps.reproduce.costs import machine_of
from slowfast_mlp.apps.reproduce.files import read_json, write_json
from slowfast_mlp.apps.reproduce.plan import TestPlan
from slowfast_mlp.builders import annotations
from slowfast_mlp.config.load import load_config
from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.errors import UserError
from slowfast_mlp.log.metrics_file import last_metrics
from slowfast_mlp.run.test_many import run_tests

RESULT = "result.json"
# Scores of 50,000 pictures in 1,000 classes are 0.4 GB a model.
MAX_MODELS_PER_PASS = 8
CHUNK = 1 << 22

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the test of a row gave, accuracies in percent; of which weights and list; on what machine.

    `top5` is None for five classes and fewer, of which every label is among the five best.
    """

    top1: float
    top5: float | None = None
    top1_of_decoded: float
    num_videos: int
    num_decoded: int
    num_views_missing: int
    checkpoint_sha256: str
    list_sha256: str
    machine: str


def run_missing_tests(plans: Sequence[TestPlan]) -> Iterator[tuple[TestPlan, Result | str]]:
    """Every row that lacks nothing with its result, or why there is none, as they come.

    A row that was tested with the same weights, settings and list is not tested again. Rows that ask for the
    same views are tested together; where that fails, each alone, so that one cannot spoil the others.
    """
    waiting: dict[str, list[tuple[TestPlan, dict[str, str]]]] = {}
    for plan in plans:
        if plan.missing:
            continue
        try:
            identity = _identity(plan)
            done = _load_result(plan, identity)
        except UserError as error:
            yield plan, str(error)
            continue
        if done:
            logger.info("%s is tested already: %s", plan.row.name, plan.output_dir)
            yield plan, done
        else:
            waiting.setdefault(plan.views, []).append((plan, identity))
    for of_views in waiting.values():
        for start in range(0, len(of_views), MAX_MODELS_PER_PASS):
            yield from _test_group(of_views[start : start + MAX_MODELS_PER_PASS])


def _test_group(group: Sequence[tuple[TestPlan, dict[str, str]]]) -> Iterator[tuple[TestPlan, Result | str]]:
    names = ", ".join(plan.row.name for plan, _ in group)
    logger.info("testing %s", names)
    configs = [load_config(plan.row.config, plan.overrides) for plan, _ in group]
    try:
        launch(
            partial(run_tests, configs),
            num_gpus=configs[0].num_gpus,
            timeout_sec=configs[0].dist_timeout_sec,
        )
    except UserError as error:
        if len(group) == 1:
            logger.warning("%s cannot be tested; the report says why", names)
            yield group[0][0], str(error)
            return
        logger.warning("%s: testing these rows one by one", error)
        for one in group:
            yield from _test_group([one])
        return
    machine = machine_of(configs[0].num_gpus)
    for plan, identity in group:
        measured = last_metrics(plan.output_dir, "test")
        figures = {name: measured[name] for name in Result.__annotations__ if name in measured}
        figures |= {"checkpoint_sha256": identity["checkpoint_sha256"], "machine": machine}
        result = Result(**figures)
        write_json(os.path.join(plan.output_dir, RESULT), {"of": identity, "result": asdict(result)})
        yield plan, result


def _identity(plan: TestPlan) -> dict[str, str]:
    """What a result is of: the same three, the same figures."""
    config = load_config(plan.row.config, plan.overrides)
    videos = annotations.records(config.data, plan.dataset, "test", num_classes=config.model.num_classes)
    return {
        "checkpoint_sha256": _sha256(plan.checkpoint),
        "list_sha256": videos.fingerprint(),
        "settings": plan.settings,
    }


def _load_result(plan: TestPlan, identity: dict[str, str]) -> Result | None:
    """The result of an earlier test of the same, if there is one."""
    path = os.path.join(plan.output_dir, RESULT)
    stored = read_json(path)
    try:
        return Result(**stored["result"]) if stored and stored["of"] == identity else None
    except (TypeError, KeyError) as error:
        raise UserError(f"{path} is no result of a test ({error}). Delete it.") from error


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while part := file.read(CHUNK):
                digest.update(part)
    except OSError as error:
        raise UserError(f"The checkpoint {path} cannot be read ({error.strerror}).") from error
    return digest.hexdigest()
