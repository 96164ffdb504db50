"""Figures of earlier measurements."""

import csv

import pytest

from slowfast_mlp.benchmarks import history
from slowfast_mlp.errors import UserError


def test_lines_are_added_under_one_header(tmp_path):
    path = tmp_path / "history.csv"
    history.append(path, [{"model": "morphmlp", "row": "ours"}])
    history.append(path, [{"model": "vast", "kernels": 3}])
    with path.open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["model"], line["row"], line["kernels"]) for line in lines] == [
        ("morphmlp", "ours", ""), ("vast", "", "3"),
    ]  # fmt: skip
    assert tuple(lines[0]) == history.FIELDS


def test_a_file_of_other_columns_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"--history .*mine.csv: its columns are not date, "):
        history.append(path, [{"model": "vast"}])
    assert path.read_text() == "a,b\n1,2\n"


def test_a_figure_without_a_column_is_a_mistake_of_ours(tmp_path):
    with pytest.raises(ValueError, match="speed"):
        history.append(tmp_path / "history.csv", [{"speed": 1}])
