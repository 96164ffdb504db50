"""Several runs side by side: results, and what of their settings differs."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from slowfast_mlp.apps.report.html import paragraph, section, table
from slowfast_mlp.apps.report.run_dir import RunDir, percent
from slowfast_mlp.apps.report.sections import format_value

PLACES = ("OUTPUT_DIR",)  # differ always, and say nothing


def with_unique_names(runs: Sequence[RunDir]) -> list[RunDir]:
    """The runs with names that differ: of those in folders of one name, the paths."""
    counts = Counter(run.name for run in runs)
    return [dataclasses.replace(run, name=str(run.path)) if counts[run.name] > 1 else run for run in runs]


def results(runs: Sequence[RunDir]) -> str:
    """A line a run: epochs, the best validation, the test and its protocol."""
    rows = []
    for run in runs:
        test, last = run.newest("test"), run.newest("train_epoch")
        best = max((line["top1"] for line in run.lines_of("val")), default=None)
        tested = [percent(test.get(name)) for name in ("top1", "top5")]
        rows.append((run.name, last.get("epoch", "\u2013"), percent(best), *tested, test.get("views", "")))
    header = ("run", "epochs", "best val top-1", "test top-1", "test top-5", "protocol")
    remarks = "".join(paragraph(f"{run.name}: {remark}") for run in runs for remark in run.remarks)
    return section("Results", table(header, rows), remarks)


def differences(runs: Sequence[RunDir]) -> str:
    """The settings that are not the same in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    rows = []
    for key in keys:
        values = [format_value(run.settings[key]) if key in run.settings else "\u2013" for run in runs]
        if key not in PLACES and len(set(values)) > 1:
            rows.append((key, *values))
    same = "" if rows else "Their settings are the same."
    return section(
        "Settings that differ", table(("setting", *(run.name for run in runs)), rows), paragraph(same)
    )
