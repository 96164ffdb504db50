"""The page of a run, made once."""

import shutil

import pytest

from slowfast_mlp.apps.report.write import write_report


@pytest.fixture(scope="session")
def page(run_folder, tmp_path_factory):
    """report.html of the shared run, with frames and all."""
    return write_report(
        str(run_folder), path=tmp_path_factory.mktemp("page") / "page.html", device="cpu"
    ).path


@pytest.fixture
def copied_run(run_folder, tmp_path):
    """A copy of the shared run without its checkpoints, to change."""
    shutil.copytree(run_folder, tmp_path / "copy", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "copy"
