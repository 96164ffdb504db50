"""docs/configuration.md, made from the schema and signatures: every setting, its default and meaning."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from slowfast_mlp import models
from slowfast_mlp.config.schema import Config
from slowfast_mlp.data import datasets
from slowfast_mlp.registry import find_module, module_names

# What a constructor and read_records get from other settings.
SHARED_BY_MODELS = {"num_classes", "num_frames", "crop_size"}
SHARED_BY_DATASETS = {"root", "split", "prefix", "separator"}
WORDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "True or False",
    "NoneType": "None",
}
INTRODUCTION = """# Configuration reference

Made by `python tools/dev/config_reference.py` from `slowfast_mlp/config/schema.py`. A test keeps it current.

Settings come from, each over the one before: the defaults below, the file that `_BASE_` names, the file of
`--cfg`, and `KEY VALUE` pairs behind it on the command line. A key may reach into a dictionary
(`MODEL.ARGS.drop_path 0.2`); a whole dictionary replaces the file's (`MODEL.ARGS "{drop_path: 0.2}"`).
`--print-config` shows what a command comes to. Unknown keys, values of another type and values outside the
range are refused, with the nearest legal ones.
"""


def page() -> str:
    """The page as Markdown."""
    sections = [field for field in dataclasses.fields(Config) if _is_section(field)]
    single = [field for field in dataclasses.fields(Config) if not _is_section(field)]
    parts = [INTRODUCTION, _table("The run", "", single)]
    for section in sections:
        kind = section.default_factory
        title = f"{section.name.upper()}: {_one_line(kind.__doc__)}"
        parts.append(_table(title, f"{section.name.upper()}.", dataclasses.fields(kind)))
    parts.append(
        "## MODEL.ARGS: arguments of the backbones\n\nWhat each means stands in the head of its class.\n"
    )
    for name, module in _modules(models):
        variants = ", ".join(module.VARIANTS)
        parts.append(
            f"### `MODEL.NAME {name}`\n\nVariants: {variants}. `slowfast_mlp/models/{name}.py`.\n\n"
            + _arguments(module.MODEL, SHARED_BY_MODELS)
        )
    parts.append("## DATA.ARGS: arguments of the data sets\n\nWhat each means stands in docs/datasets.md.\n")
    for name, module in _modules(datasets):
        parts.append(f"### `TRAIN.DATASET {name}`\n\n{_arguments(module.read_records, SHARED_BY_DATASETS)}")
    return "\n".join(parts)


def _is_section(field: dataclasses.Field) -> bool:
    return dataclasses.is_dataclass(field.default_factory)


def _modules(package: ModuleType) -> Iterator[tuple[str, ModuleType]]:
    for name in module_names(package):
        yield name, find_module(package, name, "name")


def _table(title: str, prefix: str, fields: Any) -> str:
    lines = [f"## {title}", "", "| setting | default | legal | meaning |", "|---|---|---|---|"]
    for field in fields:
        default = {} if field.default is dataclasses.MISSING else field.default
        cells = (
            f"`{prefix}{field.name.upper()}`",
            f"`{_shown(default)}`",
            _legal(field),
            field.metadata["meaning"],
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _legal(field: dataclasses.Field) -> str:
    """The type and range in words."""
    rules = field.metadata
    if rules["choices"]:
        return ", ".join(rules["choices"])
    bounds = []
    for word, rule in (("above", "above"), ("from", "low"), ("to", "high")):
        if rules[rule] is not None:
            bounds.append(f"{word} {rules[rule]}")
    kind, *others = _kind(field.type).split(" or None")
    return " ".join([kind, *bounds, *("or None" for _ in others)])


def _kind(annotation: Any) -> str:
    """A type as the field's users call it."""
    if typing.get_origin(annotation) is dict:
        return "dictionary"
    if typing.get_origin(annotation) is tuple:
        return f"list of {_kind(typing.get_args(annotation)[0])}s"
    options = typing.get_args(annotation)
    if options:
        return " or ".join(_kind(option) for option in options)
    name = getattr(annotation, "__name__", str(annotation))
    return WORDS.get(name, name)


def _arguments(function: Callable[..., Any], shared: set[str]) -> str:
    """A table of the keyword arguments that the user may give."""
    kinds = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    rows = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in shared:
            continue
        is_needed = parameter.default is inspect.Parameter.empty
        default = "by the variant" if is_needed else f"`{_shown(parameter.default)}`"
        rows.append(f"| `{name}` | {default} | {_kind(kinds[name])} |")
    if not rows:
        return "It takes none.\n"
    return "\n".join(["| argument | default | legal |", "|---|---|---|", *rows]) + "\n"


def _shown(value: Any) -> str:
    """A value as it is written in a config."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return repr(value) if isinstance(value, str) else str(value)


def _one_line(text: str | None) -> str:
    """The first sentence of a docstring, without its stop."""
    return " ".join((text or "").split("\n\n")[0].split()).removesuffix(".")
