"""Finds a module by name: the file name is the registration."""

import importlib
import pkgutil
from types import ModuleType

from slowfast_mlp.errors import UserError, nearest_name


def find_module(package: ModuleType, name: str, setting: str) -> ModuleType:
    """Module `name` of `package`. Raises UserError, with `setting` and the modules that exist."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    if name not in names:
        raise UserError(
            f"{setting} {name!r}: no {name}.py in {package.__name__}; there is "
            f"{', '.join(names)}.{nearest_name(name, names)}"
        )
    return importlib.import_module(f"{package.__name__}.{name}")
