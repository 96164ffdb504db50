"""What a run refuses of its settings and lists, found without running it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from slowfast_mlp.builders import annotations, loaders, solver
from slowfast_mlp.builders import model as model_builder
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.config.schema import Config
from slowfast_mlp.errors import UserError
from slowfast_mlp.run.splits import dataset_of_test
from slowfast_mlp.run.test import loader_of

CPU = torch.device("cpu")


def refusals(config: Config, videos: Mapping[str, annotations.Records]) -> list[str]:
    """What stops `run` before its first step, in words, one after the other: everything that a run makes of
    the settings and the records of its splits is made here too, on one CPU process, and no video is read.

    Labels and files are left out, and what depends on the machine of the run (processes, precision).
    """
    found = _Found()
    model = found.try_to(partial(model_builder.model_for, config.model, config.data))
    for path in (config.train.checkpoint_file_path, config.test.checkpoint_file_path):
        if path:
            found.try_to(partial(checkpoint.check_file, path))
    if config.train.enable and "train" in videos:
        _try_training(found, config, model, videos["train"])
    of_val = dict(dataset=config.train.dataset, num_clips=1, num_crops=1, offset=True)
    if "val" in videos:
        found.try_to(partial(loader_of, config, CPU, videos["val"], **of_val))
    of_test = dict(num_clips=config.test.num_ensemble_views, num_crops=config.test.num_spatial_crops)
    of_test |= dict(dataset=dataset_of_test(config), offset=config.data.use_offset_sampling)
    if "test" in videos:
        found.try_to(partial(loader_of, config, CPU, videos["test"], **of_test))
    return found.texts


class _Found:
    """The texts of the UserErrors of what was tried, each once."""

    def __init__(self):
        self.texts: list[str] = []

    def try_to(self, make: Callable[[], Any]) -> Any:
        """What `make` makes, or None."""
        try:
            return make()
        except UserError as error:
            self.texts += [str(error)] if str(error) not in self.texts else []
            return None


def _try_training(
    found: _Found, config: Config, model: nn.Module | None, videos: annotations.Records
) -> None:
    """Tries what a training makes; without a model what needs none."""
    clips, seed = config.train.batch_size * config.aug.num_sample, config.rng_seed
    data = dict(dataset=config.train.dataset, seed=seed)
    found.try_to(partial(loaders.mix, config.mixup, clips_per_rank=clips, seed=seed, rank=0))
    found.try_to(partial(solver.num_parts, config.train, smallest_batch=clips))
    found.try_to(partial(loaders.train_videos, config.data, config.aug, videos, **data))
    if model is None:
        return
    found.try_to(partial(solver.optimizer, config.solver, model, shard=False))
    found.try_to(partial(solver.precise_batches, config.bn, model, name=config.model.name))
    steps = dict(num_classes=config.model.num_classes, rank=0, world_size=1, seed=seed)
    found.try_to(partial(loaders.train_sampler, config.train, videos, **steps))
