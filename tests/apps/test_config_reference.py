"""docs/configuration.md is what the schema says."""

from slowfast_mlp.apps.config_reference import page
from tests.conftest import ROOT, main_of


def test_the_page_is_up_to_date(tmp_path):
    assert main_of("dev/config_reference")(["--out", str(tmp_path / "page.md")]) == 0
    written = (tmp_path / "page.md").read_text()
    assert written == (ROOT / "docs" / "configuration.md").read_text(), (
        "run python tools/dev/config_reference.py"
    )


def test_a_row_tells_default_range_and_meaning():
    rows = page().splitlines()
    assert (
        "| `TRAIN.BATCH_SIZE` | `64` | whole number from 1 | videos of a step, over all processes |" in rows
    )
    assert "| `drop_path` | `0.0` | number |" in rows
    (watchdog,) = (row for row in rows if row.startswith("| `WATCHDOG_SEC`"))
    assert watchdog.split(" | ")[2] == "number above 0 or None"
