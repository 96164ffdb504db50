"""Tables as people and machines read them."""

import json

import pytest

from slowfast_mlp.benchmarks.tables import BenchmarkReport, Table, as_markdown, format_number, write_json

ROWS = [("plain", 120.4), ("x", 3)]
TABLE = Table(title="Loaders", note="Of one thread.", columns=("loader", "ms"), rows=ROWS)


def test_a_table_is_markdown_whose_columns_line_up():
    report = BenchmarkReport(
        section="data", tables=[TABLE], remarks=["nothing else"], machine={"torch": "2.0"}
    )
    assert as_markdown(report) == (
        "torch 2.0\n\n"
        "Loaders\n\n"
        "| loader | ms  |\n"
        "| ------ | --- |\n"
        "| plain  | 120 |\n"
        "| x      | 3   |\n\n"
        "Of one thread.\n\n"
        "nothing else"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1234"), (99.96, "100"), (24.54, "24.5"), (2.0, "2"), (0.0123, "0.0123")]
)
def test_a_number_has_three_figures_that_matter(value, text):
    assert format_number(value) == text


def test_the_json_has_the_numbers_as_measured(tmp_path):
    write_json(BenchmarkReport(section="data", tables=[TABLE]), tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["section"] == "data"
    assert written["tables"][0]["rows"] == [["plain", 120.4], ["x", 3]]
