"""Whether small models learn motion: every synthetic config once as it is, and once with shuffled frames."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from slowfast_mlp.config.load import load_config
from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.log.metrics_file import last_metrics
from slowfast_mlp.run.main import run

# A model that uses time must reach the first; one that is shown no order must stay below the second: every
# class is another one played backwards, so half is what a model can know that does not see time.
LEARNS = 90.0
CONTROL = 60.0


@dataclass(frozen=True, kw_only=True)
class Learning:
    """Top-1 (percent) of one config, in order and with the frames of every clip shuffled."""

    config: str
    top1: float
    top1_shuffled: float

    @property
    def uses_time(self) -> bool:
        """Whether it learnt the motions, and lost them with the order of the frames."""
        return self.top1 >= LEARNS and self.top1_shuffled < CONTROL


def learning_runs(paths: Sequence[str], output_dir: str, overrides: Sequence[str]) -> Iterator[Learning]:
    """Trains and tests every config and its control, into folders of `output_dir`; goes on where it stopped.

    Raises UserError.
    """
    for path in paths:
        name = os.path.splitext(os.path.basename(path))[0]
        top1, shuffled = (
            _top1_of_run(path, os.path.join(output_dir, f"{name}{suffix}"), [*overrides, *control])
            for suffix, control in (("", ()), ("_shuffled", ("DATA.SHUFFLE_FRAMES", "True")))
        )
        yield Learning(config=name, top1=top1, top1_shuffled=shuffled)


def markdown(rows: Sequence[Learning]) -> str:
    """The rows as the table of docs/model_zoo.md."""
    lines = ["| config in configs/Synthetic | top-1 | frames shuffled |", "|---|---|---|"]
    lines += [f"| {row.config}.yaml | {row.top1:.1f} % | {row.top1_shuffled:.1f} % |" for row in rows]
    return "\n".join(lines)


def _top1_of_run(path: str, output_dir: str, overrides: Sequence[str]) -> float:
    config = load_config(path, [*overrides, "OUTPUT_DIR", output_dir])
    launch(
        partial(run, config),
        num_gpus=config.num_gpus,
        num_shards=config.num_shards,
        shard_id=config.shard_id,
        timeout_sec=config.dist_timeout_sec,
    )
    return last_metrics(output_dir, "test")["top1"]
