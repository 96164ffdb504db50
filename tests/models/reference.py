"""The straightforward forms of backbones in benchmarks/reference."""

import importlib.util
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "benchmarks" / "reference"


def reference(name: str) -> ModuleType:
    """The module whose `build(model)` gives the straightforward form with the same weights."""
    spec = importlib.util.spec_from_file_location(f"reference_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
