"""The report: published and measured figures side by side, as Markdown and as CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from slowfast_mlp.apps.reproduce.costs import Cost
from slowfast_mlp.apps.reproduce.plan import TestPlan
from slowfast_mlp.apps.reproduce.rows import Result

NOT_YET = "not tested yet"
TITLES = {
    "Kinetics": "Kinetics-400",
    "SSv1": "Something-Something V1",
    "SSv2": "Something-Something V2",
    "ImageNet": "ImageNet-1K",
    "Synthetic": "Embedded synthetic videos",
}
HEAD = (
    "row",
    "top-1 published",
    "measured",
    "difference",
    "top-5 published",
    "measured",
    "difference",
    "params M published",
    "ours",
    "GFLOPs published",
    "ours",
    "videos",
)
NO_NUMBER = "-"


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """A row of the report; `outcome` is its result, or why there is none."""

    plan: TestPlan
    cost: Cost
    outcome: Result | str

    @property
    def result(self) -> Result | None:
        """The result, if the row was tested."""
        return self.outcome if isinstance(self.outcome, Result) else None

    @property
    def state(self) -> str:
        """Tested, or why not."""
        return "tested" if self.result else str(self.outcome)


def as_markdown(lines: Sequence[ReportRow], *, command: str, picture: str | None) -> str:
    """The whole report; `command` made it, `picture` is the name of the file next to it."""
    tested = [line.result for line in lines if line.result]
    parts = [
        "# Published and measured",
        f"{len(tested)} of {len(lines)} rows are tested. Made by\n\n```bash\n{command}\n```",
    ]
    if tested:
        parts.append(f"on {'; '.join(sorted({result.machine for result in tested}))}.")
    if picture:
        parts.append(f"![top-1 over GFLOPs]({picture})")
    for group in dict.fromkeys(line.plan.group for line in lines):
        group_rows = [line for line in lines if line.plan.group == group]
        parts.append(f"## {TITLES.get(group, group)}")
        parts.append(_table(group_rows))
        if incomplete := [line for line in group_rows if line.result and _is_incomplete(line.result)]:
            parts.append("\n".join(map(_describe_incomplete, incomplete)))
        if untested := [line for line in group_rows if not line.result]:
            parts.append("\n".join(f"- {line.plan.row.name}: {line.state}" for line in untested))
    parts.append(
        "Accuracies in percent of all videos of the list: one that gave no view counts as wrong. Differences "
        "are measured less published. GFLOPs are multiply-adds (1e9) over all views, counted by fvcore."
    )
    parts += ["## The rows", *map(_details, lines)]
    return "\n\n".join(parts) + "\n"


def _table(lines: Sequence[ReportRow]) -> str:
    rows = [HEAD, ["---"] * len(HEAD), *map(_cells, lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(line: ReportRow) -> list[str]:
    row, result = line.plan.row, line.result
    return [
        row.name,
        *_format_comparison(row.top1, result and result.top1),
        *_format_comparison(row.top5, result and result.top5),
        _number(row.params),
        f"{line.cost.params:.2f}",
        _number(row.gflops),
        f"{line.cost.gflops:.4g}",
        f"{result.num_decoded}/{result.num_videos}" if result else NO_NUMBER,
    ]


def _format_comparison(published: float | None, measured: float | None) -> list[str]:
    difference = NO_NUMBER if None in (published, measured) else f"{measured - published:+.2f}"
    return [
        NO_NUMBER if published is None else f"{published:.1f}",
        NO_NUMBER if measured is None else f"{measured:.2f}",
        difference,
    ]


def _number(value: float | None) -> str:
    return NO_NUMBER if value is None else f"{value:g}"


def _is_incomplete(result: Result) -> bool:
    return result.num_decoded < result.num_videos or result.num_views_missing > 0


def _describe_incomplete(line: ReportRow) -> str:
    result = line.result
    return (
        f"- {line.plan.row.name}: {result.num_videos - result.num_decoded} of {result.num_videos} videos "
        f"gave no view, {result.num_views_missing} views are missing; top-1 of those with a view is "
        f"{result.top1_of_decoded:.2f}. {line.plan.output_dir}/failed_videos.txt names them."
    )


def _details(line: ReportRow) -> str:
    """What the figures of a row depend on, and the command that tests it alone."""
    plan, result = line.plan, line.result
    facts = [plan.protocol]
    facts += [f"published by {plan.row.source}"] if plan.row.top1 is not None else [plan.row.source]
    facts.append(plan.row.note)
    if result:
        facts.append(f"weights sha256 {result.checkpoint_sha256[:12]}, list sha256 {result.list_sha256[:12]}")
    text = "; ".join(filter(None, facts))
    return f"**{plan.row.name}**: {text}.\n\n```bash\n{plan.command}\n```"


def as_csv(lines: Sequence[ReportRow]) -> str:
    """A line for every row, numbers at full precision, empty where there is none."""
    text = io.StringIO()
    records = list(map(_record, lines))
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _record(line: ReportRow) -> dict[str, str | float | int | None]:
    plan, result = line.plan, line.result
    row = plan.row
    measured = {name: getattr(result, name, None) for name in Result.__annotations__}
    return {
        "name": row.name,
        "dataset": plan.dataset,
        "state": line.state,
        "protocol": plan.protocol,
        "published_top1": row.top1,
        "top1": measured.pop("top1"),
        "difference_top1": _difference(row.top1, result and result.top1),
        "published_top5": row.top5,
        "top5": measured.pop("top5"),
        "difference_top5": _difference(row.top5, result and result.top5),
        "published_params_m": row.params,
        "params_m": line.cost.params,
        "published_gflops": row.gflops,
        "gflops": line.cost.gflops,
        **measured,
        "source": row.source,
        "note": row.note,
        "command": plan.command,
    }


def _difference(published: float | None, measured: float | None) -> float | None:
    return None if None in (published, measured) else measured - published
