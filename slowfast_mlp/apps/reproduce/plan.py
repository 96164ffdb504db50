"""What is to be tested for every row of a table: settings, weights, and what is missing."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slowfast_mlp.apps.reproduce.table import PublishedRow, match_rows
from slowfast_mlp.config.diff import TEST, VIEWS, describe_settings
from slowfast_mlp.config.load import load_config
from slowfast_mlp.errors import UserError, nearest_name
from slowfast_mlp.run.summary import protocol

ROWS = "rows"  # folder of the rows' own output
BUILT_IN_DATASET = "synthetic"


@dataclass(frozen=True, kw_only=True)
class TestInputs:
    """What the command line gives: paths of weights by row, folders of lists by data set, overrides by row or
    data set as (name, KEY, VALUE), and overrides of all rows.
    """

    checkpoints: Mapping[str, str]
    checkpoint_folder: str
    data: Mapping[str, str]
    settings: Sequence[tuple[str, str, str]]
    overrides: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class TestPlan:
    """The test of a row: `overrides` on its config make it; no checkpoint is "".

    Plans with equal `views` can share the clips that they see; `settings` is what the figures depend on
    next to weights and videos.
    """

    row: PublishedRow
    overrides: tuple[str, ...]
    output_dir: str
    checkpoint: str
    has_data: bool
    dataset: str
    model: str
    num_views: int
    protocol: str
    views: str
    settings: str

    @property
    def group(self) -> str:
        """What the row is shown with: the folder in its name, else its data set."""
        return self.row.name.rpartition("/")[0] or self.dataset

    @property
    def command(self) -> str:
        """The command line that tests this row alone; CAPITALS stand for what is missing."""
        absent = [] if self.checkpoint else ["TEST.CHECKPOINT_FILE_PATH", "CHECKPOINT"]
        absent += [] if self.has_data else ["DATA.PATH_TO_DATA_DIR", "FOLDER"]
        files = _relative_path(_run_net()), "--cfg", _relative_path(self.row.config)
        return shlex.join(["python", *files, *self.overrides, *absent])

    @property
    def missing(self) -> str:
        """What the row lacks to be tested, with the way out; "" where it lacks nothing."""
        reasons = [] if self.checkpoint else [f"no checkpoint given: --checkpoint {self.row.name}=PATH"]
        reasons += [] if self.has_data else [f"no data given: --data {self.dataset}=FOLDER"]
        return "; ".join(reasons)


def _run_net() -> str:
    """The file of tools/run_net.py: in a clone next to the package, in a wheel inside it."""
    package = Path(__file__).parents[2]
    inside = package / "tools" / "run_net.py"
    return str(inside if inside.exists() else package.parent / "tools" / "run_net.py")


def _relative_path(path: str) -> str:
    """The path as short as it can be written in this folder."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def plan_rows(rows: Sequence[PublishedRow], inputs: TestInputs, output_dir: str) -> list[TestPlan]:
    """A plan for every row. Raises UserError for what no row can make sense of."""
    checkpoints = _checkpoints_by_row(rows, inputs)
    dataset_of = {row.name: _dataset(row) for row in rows}
    known = sorted(set(dataset_of.values()))
    for name in inputs.data:
        if name not in known:
            raise UserError(
                f"--data {name}=...: no row reads {name!r}; they read {', '.join(known)}."
                f"{nearest_name(name, known)}"
            )
    settings = {row.name: [] for row in rows}
    for name, key, value in inputs.settings:
        named = [row for row in rows if dataset_of[row.name] == name]
        for row in named or match_rows(rows, name, flag="--set"):
            settings[row.name] += [key, value]
    return [
        _plan(
            row,
            checkpoint=checkpoints.get(row.name, ""),
            data=inputs.data.get(dataset_of[row.name], ""),
            overrides=[*settings[row.name], *inputs.overrides],
            output_dir=os.path.join(output_dir, ROWS, row.name),
        )
        for row in rows
    ]


def _dataset(row: PublishedRow) -> str:
    config = load_config(row.config, row.overrides)
    return config.test.dataset or config.train.dataset


def _checkpoints_by_row(rows: Sequence[PublishedRow], inputs: TestInputs) -> dict[str, str]:
    """Paths of weights by the names of rows: of --checkpoint, else of --checkpoints, else of the table."""
    found = {row.name: row.checkpoint for row in rows if row.checkpoint}
    if inputs.checkpoint_folder and not os.path.isdir(inputs.checkpoint_folder):
        raise UserError(f"--checkpoints {inputs.checkpoint_folder!r}: there is no such folder.")
    for row in rows if inputs.checkpoint_folder else ():
        path = Path(inputs.checkpoint_folder) / f"{row.name}.pyth"
        if path.is_file():
            found[row.name] = str(path)
    for pattern, path in inputs.checkpoints.items():
        if not os.path.isfile(path):
            raise UserError(f"--checkpoint {pattern}={path}: there is no such file.")
        found |= {row.name: path for row in match_rows(rows, pattern, flag="--checkpoint")}
    return found


def _plan(
    row: PublishedRow, *, checkpoint: str, data: str, overrides: Sequence[str], output_dir: str
) -> TestPlan:
    words = [*row.overrides, "TRAIN.ENABLE", "False"]
    # Videos that do not decode are counted as wrong and stand in the report, however many there are.
    words += ["TEST.MAX_FAILED_FRACTION", "1"]
    words += ["TEST.CHECKPOINT_FILE_PATH", checkpoint] if checkpoint else []
    words += ["DATA.PATH_TO_DATA_DIR", data] if data else []
    words += [*overrides, "OUTPUT_DIR", output_dir]
    config = load_config(row.config, words)
    dataset = config.test.dataset or config.train.dataset
    return TestPlan(
        row=row,
        overrides=tuple(words),
        output_dir=output_dir,
        checkpoint=config.test.checkpoint_file_path,
        has_data=bool(config.data.path_to_data_dir) or dataset == BUILT_IN_DATASET,
        dataset=dataset,
        model=config.model.name,
        num_views=config.test.num_ensemble_views * config.test.num_spatial_crops,
        protocol=protocol(config.test, config.data, config.train.dataset),
        views=describe_settings(config, VIEWS),
        settings=describe_settings(config, *TEST),
    )
