"""What stands in benchmarks/reference: straightforward forms of backbones, and of the loader."""

from functools import partial

from slowfast_mlp.benchmarks.load_reference import load_reference
from tests.conftest import ROOT

# MODEL.NAME -> the module whose `build(model)` gives the straightforward form with the same weights;
# "loader" -> the plain way to load.
reference = partial(load_reference, folder=ROOT / "benchmarks" / "reference")
