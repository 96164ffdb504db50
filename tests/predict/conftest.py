"""A tiny model that was trained and tested by a run, on rendered videos with names."""

import pytest

from slowfast_mlp.config.load import load_config
from slowfast_mlp.data.datasets.synthetic import CLASSES
from slowfast_mlp.run.main import run
from tests.conftest import TINY


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, corpus):
    """The OUTPUT_DIR of a run of one epoch and its test."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "names.txt").write_text("\n".join(CLASSES))
    words = {
        "DATA.PATH_TO_DATA_DIR": corpus,
        "DATA.ARGS.label_names": folder / "names.txt",
        "OUTPUT_DIR": folder / "out",
        "NUM_GPUS": 0,
        "SOLVER.MAX_EPOCH": 1,
    }
    run(load_config(str(folder / "tiny.yaml"), [str(word) for pair in words.items() for word in pair]))
    return folder / "out"


@pytest.fixture(scope="session")
def checkpoint(run_folder):
    """The checkpoint of that run."""
    return str(run_folder / "checkpoints" / "checkpoint_epoch_00001.pyth")
