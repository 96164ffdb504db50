"""What is measured against, and is no part of the package: benchmarks/reference of a checkout."""

import importlib.util
from pathlib import Path
from types import ModuleType

from slowfast_mlp.errors import UserError


def load_reference(name: str, folder: Path) -> ModuleType:
    """The plain way to load (`loader`) or to compute a backbone (its MODEL.NAME): the file of that name in
    `folder`, run.

    Raises UserError where there is none.
    """
    path = folder / f"{name}.py"
    if not path.is_file():
        raise UserError(f"There is no straightforward form of {name} (benchmarks/reference/{name}.py).")
    spec = importlib.util.spec_from_file_location(f"reference_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
