"""Tables of published figures: read, refused, and in agreement with the heads of the configs."""

import re
from pathlib import Path

import pytest

from slowfast_mlp.apps.reproduce.table import PAPERS, SYNTHETIC, match_rows, read_table
from slowfast_mlp.errors import UserError
from tests.conftest import ROOT

CONFIGS = ROOT / "configs"


@pytest.fixture
def table(tmp_path):
    def table(text):
        path = tmp_path / "table.csv"
        path.write_text(text)
        return read_table(path, folder=tmp_path)

    return table


def test_a_row_has_paths_from_the_folder_and_none_for_what_is_not_published(table, tmp_path):
    (row,) = table('name,config,overrides,top1,gflops\nS,s.yaml,"MODEL.ARGS ""{a: 1}"" RNG_SEED 1",78.7,\n')
    assert (row.name, row.config) == ("S", str(tmp_path / "s.yaml"))
    assert row.overrides == ("MODEL.ARGS", "{a: 1}", "RNG_SEED", "1")
    assert (row.top1, row.gflops, row.params, row.checkpoint) == (78.7, None, None, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,cfg\nS,s.yaml\n", "unknown column 'cfg'"),
        ("name,top1\nS,1\n", "has no column 'config'"),
        ("name,config,top1\nS,s.yaml,high\n", "line 2: top1 'high': give a number"),
        ("name,config,top1\nS,s.yaml,nan\n", "top1 'nan': give a number"),
        ("name,config,overrides\nS,s.yaml,RNG_SEED\n", "are not KEY VALUE pairs"),
        ("name,config\nS,s.yaml\nT\n", "line 3: as many fields"),
        ("name,config\nS,s.yaml\nS,t.yaml\n", "2 rows are called 'S'"),
        ("name,config\n../S,s.yaml\n", "line 2: name '../S': use letters"),
        ("name,config\n/S,s.yaml\n", "line 2: name '/S': use letters"),
        ("name,config\n,s.yaml\n", "line 2: every row needs a name and a config"),
    ],
)
def test_a_table_that_says_something_else_is_refused_with_its_line(table, text, message):
    with pytest.raises(UserError, match=re.escape(message)):
        table(text)


def test_names_of_rows_may_have_stars_and_the_nearest_is_named(table):
    rows = table("name,config\nA/S_16,s.yaml\nA/S_32,s.yaml\nB/S_16,s.yaml\n")
    assert [row.name for row in match_rows(rows, "A/*", flag="--rows")] == ["A/S_16", "A/S_32"]
    with pytest.raises(UserError, match="--rows 'A/S16': no row .* Did you mean A/S_16"):
        match_rows(rows, "A/S16", flag="--rows")


def head_of(path: str | Path) -> str:
    """The comment at the head of a config, as one line."""
    lines = Path(path).read_text().splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


PUBLISHED = read_table(PAPERS, folder=CONFIGS)


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.name)
def test_the_head_of_a_config_says_what_the_table_of_papers_does(row):
    head = head_of(row.config)
    if row.top1 is not None:
        assert f"{row.top1} top-1" in head
    elif "is the paper's best model" in row.note:
        assert f"the paper's best model (arXiv 2407.02934) has {row.note.split()[0]} top-1" in head
    else:
        assert "No published figure" in head
    if row.top5 is not None:
        assert f"{row.top5} top-5" in head
    if row.params is not None:
        assert re.search(rf"\b{row.params:g}(\.0)? M parameters", head)
    if row.gflops is not None and row.gflops < 1:
        assert f"{1000 * row.gflops:g} M multiply-" in head
    elif "Kinetics" in row.name:
        assert f"{row.gflops / 4:g} GFLOPs a view" in head if row.gflops else "GFLOPs" not in head
    elif row.gflops is not None and "1x1" not in row.name:
        assert f"{row.gflops} GFLOPs" in head or f"{row.gflops:g} GFLOPs" in head


def test_every_config_with_a_figure_of_its_own_has_a_row():
    """Figures of a family, whose sizes are not known, are no row's."""
    of_a_family = re.compile(
        r"(the paper's best model|summaries of) [^.]*\(?arXiv [\d.]+\)? \S+ [\d. to]+ top-1"
    )
    rows = {Path(row.config).relative_to(CONFIGS).as_posix() for row in PUBLISHED if row.top1 is not None}
    heads = {
        path.relative_to(CONFIGS).as_posix(): of_a_family.sub("", head_of(path))
        for folder in ("Kinetics", "SSv1", "SSv2", "ImageNet")
        for path in CONFIGS.glob(f"{folder}/*.yaml")
    }
    assert {name for name, head in heads.items() if re.search(r"\d top-1", head)} == rows


def test_every_released_config_of_the_authors_has_a_row():
    names = {row.name for row in PUBLISHED}
    sizes = ("S_16", "S_32", "B_16", "B_32")
    assert {f"Kinetics/MORPHMLP_{size}x4" for size in sizes} <= names
    assert {f"SSv{version}/MORPHMLP_{size}" for version in (1, 2) for size in sizes} <= names
    assert "SSv1/POSMLP_VIDEO_S_16" in names


def test_weights_of_the_forks_on_something_something_are_tested_in_bgr():
    for row in PUBLISHED:
        assert ("DATA.CHANNEL_ORDER BGR" in " ".join(row.overrides)) == row.name.startswith("SSv"), row.name


def test_the_readme_has_the_figures_of_the_table_in_its_brackets():
    in_brackets = re.findall(r"\((\d\d\.\d)\)", (ROOT / "README.md").read_text())
    rows = [row for row in PUBLISHED if row.top1 is not None and not row.name.endswith("1x1")]
    assert sorted(in_brackets) == sorted(f"{row.top1:.1f}" for row in rows)


def test_the_synthetic_rows_say_what_the_model_zoo_does():
    zoo = (ROOT / "docs" / "model_zoo.md").read_text()
    rows = [row for row in read_table(SYNTHETIC, folder=CONFIGS) if row.top1 is not None]
    assert len(rows) == 4
    for row in rows:
        assert f"| {Path(row.config).name} | {row.top1} % |" in zoo
