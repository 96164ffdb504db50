"""Whether what a user gives is what a function takes."""

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from slowfast_mlp.errors import UserError, nearest_name


def check_arguments(function: Callable, given: dict[str, Any], shared: set[str], setting: str) -> None:
    """Answers what `function` does not take with what it does; `shared` arguments come from elsewhere."""
    names = [name for name in inspect.signature(function).parameters if name not in shared]
    kinds = typing.get_type_hints(function)
    for name, value in given.items():
        if name not in names:
            raise UserError(
                f"{setting}: no argument {name!r}; there is {', '.join(names)}.{nearest_name(name, names)} "
                f"({setting.split()[0]} {{}} drops what the config file gives.)"
            )
        if name in kinds and not _fits(value, kinds[name]):
            words = kinds[name].__name__ if isinstance(kinds[name], type) else str(kinds[name])
            raise UserError(f"{setting}: {name} {value!r} is no {words}.")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of the annotated type; lists stand for tuples, whole numbers for floats."""
    if isinstance(kind, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(kind))
    if kind is types.NoneType:
        return value is None
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)[0]
        return isinstance(value, (list, tuple)) and all(_fits(item, items) for item in value)
    if kind in (int, float):
        allowed = int if kind is int else (int, float)
        return isinstance(value, allowed) and not isinstance(value, bool)
    return not isinstance(kind, type) or isinstance(value, kind)
