"""The table of variants: every row builds what it names, and its figures stand next to the published ones."""

import csv

import pytest
import torch

from slowfast_mlp.apps import model_table
from slowfast_mlp.builders import model
from slowfast_mlp.config.schema import Model
from tests.conftest import main_of


def test_every_row_names_a_model_that_can_be_built():
    papers = model_table.published_rows()
    for row in model_table.ROWS:
        section = Model(name=row.name, variant=row.variant, num_classes=row.num_classes, args=row.arguments)
        with torch.device("meta"):
            net = model.model(section, num_frames=row.num_frames, crop_size=224, test_crop_size=224)
        paper = papers[row.published] if row.published else None
        if paper and paper.params:
            millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
            # The paper's S of MorphMLP is printed as 38 M and has 40.5 M with its gate.
            assert millions == pytest.approx(paper.params, rel=0.07), row


def test_a_row_has_our_figures_and_the_published_ones():
    first = next(model_table.table("mobile_former"))
    cells = dict(zip(model_table.COLUMNS[:5], first[:5]))
    assert cells["model"] == "mobile_former 508M" and cells["params M"] == "13.98"
    assert float(first[6]) == pytest.approx(0.508, rel=0.01) and first[9] == "1x1"
    assert first[-1] == "Mobile-Former, ImageNet-1K"


def test_the_formats_hold_the_same_cells():
    rows = [[f"{n}{column}" for column in range(len(model_table.COLUMNS))] for n in range(2)]
    assert list(csv.reader(model_table.as_csv(rows).splitlines()))[1:] == rows
    assert model_table.as_markdown(rows).splitlines()[2] == "| " + " | ".join(rows[0]) + " |"
    assert model_table.as_text(rows).splitlines()[2].split()[:2] == rows[1][:2]


def test_an_unknown_model_is_answered_with_those_of_the_table(capsys):
    with pytest.raises(SystemExit, match="2"):
        main_of("dev/model_table")(["--model", "morpmlp"])
    assert "--model morpmlp: no such model in the table; there is morphmlp, " in capsys.readouterr().err
