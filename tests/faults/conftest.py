"""What the runs that are interrupted are compared with."""

import pytest

from slowfast_mlp.config.load import load_config
from slowfast_mlp.run.main import run
from tests.conftest import TINY
from tests.faults.running import LONG
from tests.test_run import metrics, weights


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory, corpus):
    """The weights of a long run that nothing interrupts, and the losses of its steps."""
    folder = tmp_path_factory.mktemp("unbroken")
    (folder / "tiny.yaml").write_text(TINY)
    places = ["DATA.PATH_TO_DATA_DIR", str(corpus), "OUTPUT_DIR", str(folder / "out"), "NUM_GPUS", "0"]
    run(load_config(str(folder / "tiny.yaml"), [*places, *LONG]))
    return weights(folder / "out", 4), losses(folder)


def losses(folder):
    """Loss by step of the run."""
    lines = [line for line in metrics(folder / "out") if line["kind"] == "train"]
    return [(line["step"], line["loss"]) for line in lines]
