"""The file name is the registration: a name becomes the module of that name."""

import importlib
import pkgutil
from types import ModuleType

from slowfast_mlp.errors import UserError, nearest_name


def find_module(package: ModuleType, name: str, setting: str) -> ModuleType:
    """Module `name` of `package`; `setting` is the setting that gave the name, for the error.

    Raises UserError with the modules that there are.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    if name not in names:
        raise UserError(
            f"{setting} {name!r}: no {name}.py in {package.__name__}; there is "
            f"{', '.join(names)}.{nearest_name(name, names)}"
        )
    return importlib.import_module(f"{package.__name__}.{name}")
