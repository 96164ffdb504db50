"""What tools/reproduce.py does: costs, tests, and the report, which is rewritten after every row."""

import io
import logging
import os
from collections.abc import Sequence

from slowfast_mlp.apps.reproduce.costs import count_costs
from slowfast_mlp.apps.reproduce.files import make_folder
from slowfast_mlp.apps.reproduce.plan import TestInputs, TestPlan, plan_rows
from slowfast_mlp.apps.reproduce.plot import Point, draw
from slowfast_mlp.apps.reproduce.report import NOT_YET, TITLES, ReportRow, as_csv, as_markdown
from slowfast_mlp.apps.reproduce.rows import run_missing_tests
from slowfast_mlp.apps.reproduce.synthetic import train_missing
from slowfast_mlp.apps.reproduce.table import PublishedRow
from slowfast_mlp.atomic_file import write_file
from slowfast_mlp.distributed.launch import is_launched
from slowfast_mlp.errors import UserError

REPORT, TABLE, PICTURE = "report.md", "report.csv", "report.png"

logger = logging.getLogger(__name__)


def reproduce(
    rows: Sequence[PublishedRow], inputs: TestInputs, *, output_dir: str, command: str, train: bool
) -> list[ReportRow]:
    """Tests the rows that lack nothing and writes the report on all into `output_dir`; an interrupted call
    goes on where it was. `train` makes weights for the rows that have none. Raises UserError.
    """
    if is_launched():
        raise UserError("Start tools/reproduce.py once, without torchrun or srun: it uses all GPUs itself.")
    plans = plan_rows(rows, inputs, output_dir)
    make_folder(output_dir)
    if train:
        plans = plan_rows(rows, train_missing(plans, inputs, output_dir), output_dir)
    costs = count_costs(plans, output_dir)
    lines = {
        plan.row.name: ReportRow(plan=plan, cost=costs[plan.row.name], outcome=plan.missing or NOT_YET)
        for plan in plans
    }
    write_report(list(lines.values()), output_dir, command)
    for plan, outcome in run_missing_tests(plans):
        lines[plan.row.name] = ReportRow(plan=plan, cost=costs[plan.row.name], outcome=outcome)
        write_report(list(lines.values()), output_dir, command)
    return list(lines.values())


def write_report(lines: Sequence[ReportRow], output_dir: str, command: str) -> None:
    """Writes report.md, report.csv and, where there is an accuracy, report.png."""
    picture = draw([_point(line) for line in lines])
    path = os.path.join(output_dir, PICTURE)
    if picture:
        contents = io.BytesIO()
        picture.save(contents, "png")
        write_file(path, contents.getvalue())
    elif os.path.exists(path):
        os.remove(path)  # of an earlier report
    text = as_markdown(lines, command=command, picture=PICTURE if picture else None)
    write_file(os.path.join(output_dir, REPORT), text.encode())
    write_file(os.path.join(output_dir, TABLE), as_csv(lines).encode())


def _point(line: ReportRow) -> Point:
    row = line.plan.row
    return Point(
        panel=TITLES.get(line.plan.group, line.plan.group),
        family=line.plan.model,
        label=_label(line.plan),
        gflops=row.gflops or line.cost.gflops,
        published=row.top1,
        measured=line.result.top1 if line.result else None,
    )


def _label(plan: TestPlan) -> str:
    """The name of the row without folder and family, which panel and colour tell."""
    name = plan.row.name.rpartition("/")[2]
    return name.removeprefix(f"{plan.model.upper()}_").replace("_", " ")
