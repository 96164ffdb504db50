"""The file name is the registration: a name becomes the module of that name."""

import difflib
import importlib
import pkgutil
from types import ModuleType

from slowfast_mlp.errors import UserError


def find_module(package: ModuleType, name: str, setting: str) -> ModuleType:
    """Module `name` of `package`; `setting` is the setting that gave the name, for the error.

    Raises UserError with the modules that there are.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    if name not in names:
        raise UserError(
            f"{setting} {name!r}: no {name}.py in {package.__name__}; there is "
            f"{', '.join(names)}.{nearest(name, names)}"
        )
    return importlib.import_module(f"{package.__name__}.{name}")


def nearest(name: str, names: list[str]) -> str:
    """The words " Did you mean 'x'?" for the closest of `names`, or nothing when none is close."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
