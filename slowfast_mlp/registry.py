"""Finds a module by name: the file name is the registration."""

import importlib
import pkgutil
from types import ModuleType

from slowfast_mlp.errors import UserError, nearest_name


def find_module(package: ModuleType, name: str, setting: str) -> ModuleType:
    """Module `name` of `package`. Raises UserError, with `setting` and the modules that exist."""
    names = module_names(package)
    if name not in names:
        raise UserError(
            f"{setting} {name!r}: no {name}.py in {package.__name__}; there is "
            f"{', '.join(names)}.{nearest_name(name, names)}"
        )
    return importlib.import_module(f"{package.__name__}.{name}")


def module_names(package: ModuleType) -> list[str]:
    """The modules of a package that can be chosen by name; NOT_BACKBONES of models are left out."""
    left_out = getattr(package, "NOT_BACKBONES", ())
    return sorted(name for _, name, _ in pkgutil.iter_modules(package.__path__) if name not in left_out)
