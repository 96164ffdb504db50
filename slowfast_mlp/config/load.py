"""YAML files (with _BASE_) and KEY VALUE overrides -> a frozen Config, and back to YAML."""

import dataclasses
import logging
import os
import types
import typing
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml
from fvcore.common.config import BASE_KEY, CfgNode
from iopath.common.file_io import g_pathmgr

from slowfast_mlp.config.checks import check_settings
from slowfast_mlp.config.compat.translate import is_foreign, translate
from slowfast_mlp.config.parsing import parse_value, with_numbers
from slowfast_mlp.config.schema import REMOVED, Config
from slowfast_mlp.errors import UserError, nearest_name

logger = logging.getLogger(__name__)


def load_config(path: str, overrides: Sequence[str] = ()) -> Config:
    """The settings of a YAML file and its bases, with `overrides` KEY VALUE KEY VALUE ... on top.

    Files of PySlowFast and its forks are translated, and so are overrides under their keys.
    Raises UserError that names file, key and value.
    """
    tree = _read_yaml(_place_of(path))
    if is_foreign(tree):
        tree, overrides = translate(tree, overrides, source=path)
    config = config_from_tree(tree, source=path)
    config = override(config, overrides)
    if config.output_dir is None:
        file = PurePath(path)
        config = dataclasses.replace(
            config, output_dir=str(PurePath("output") / file.parent.name / file.stem)
        )
    check_settings(config)
    return config


def config_from_tree(tree: Any, *, source: str) -> Config:
    """A config from nested dictionaries of outside names; `source` stands in errors. Raises UserError."""
    return _build(Config, tree, prefix="", source=source)


def config_from_checkpoint(tree: Any) -> Config:
    """A config from the settings in a checkpoint, which may be older than this version. Raises UserError."""
    kept = (
        {key: value for key, value in tree.items() if key not in REMOVED} if isinstance(tree, dict) else tree
    )
    return config_from_tree(kept, source="checkpoint")


def override(config: Config, overrides: Sequence[str]) -> Config:
    """The config with KEY VALUE pairs on top; a key may reach into a dictionary: MODEL.ARGS.drop_path 0.2."""
    if len(overrides) % 2:
        last = overrides[-1]
        hint = f" Write it with a blank: {last.replace('=', ' ', 1)}." if "=" in last else ""
        raise UserError(f"Overrides are KEY VALUE pairs; {last!r} has no value.{hint}")
    for key, text in zip(overrides[::2], overrides[1::2]):
        config = _override_one(config, key.split("."), text, key)
    return config


def dump_config(config: Config) -> str:
    """The whole config as YAML that `load_config` reads back to the same."""
    return yaml.safe_dump(_outside(config), sort_keys=False, default_flow_style=None, width=110)


def _outside(section: Any) -> Any:
    if dataclasses.is_dataclass(section):
        return {f.name.upper(): _outside(getattr(section, f.name)) for f in dataclasses.fields(section)}
    if isinstance(section, tuple):
        return [_outside(item) for item in section]
    return section


def _place_of(path: str) -> str:
    """The path; where nothing is there, that of the config of this name which an installed wheel brought."""
    inside = Path(__file__).parents[1] / path  # slowfast_mlp/configs/...
    is_ours = PurePath(path).parts[:1] == ("configs",) and not g_pathmgr.isfile(path) and inside.is_file()
    return str(inside) if is_ours else path


def _read_yaml(path: str) -> dict[str, Any]:
    if not g_pathmgr.isfile(path):
        raise UserError(f"No config file {path!r}.{_similar_file(path)}")
    _check_yaml(path, ())
    try:
        return CfgNode.load_yaml_with_base(path)
    except AssertionError as error:  # fvcore's only way to say that a section is a value in the base
        raise UserError(f"{path}: {error}") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:  # a date that is none, a list as a key, a tag
        raise UserError(f"{path} is not plain YAML: {' '.join(str(error).split())}") from error


def _similar_file(path: str) -> str:
    folder = PurePath(path).parent
    if not g_pathmgr.isdir(str(folder)):
        return f" There is no folder {str(folder)!r} from here."
    names = [name for name in sorted(g_pathmgr.ls(str(folder))) if name.endswith((".yaml", ".yml"))]
    return f" {folder} holds {', '.join(names) or 'no YAML file'}.{nearest_name(PurePath(path).name, names)}"


def _check_yaml(path: str, seen: tuple[str, ...]) -> None:
    """Refuses, in a file and its bases, what PyYAML and fvcore pass over or answer with a traceback."""
    if path in seen:
        raise UserError(f"{path}: {BASE_KEY} leads back to the file itself.")
    try:
        with g_pathmgr.open(path, "r") as file:
            root = yaml.compose(file, yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path} has no settings: write SECTION: {{KEY: value}}.")
    _check_duplicates(root, path, "")
    for key, value in root.value:
        if key.value == BASE_KEY:
            base = value.value
            if not isinstance(base, str):
                raise UserError(f"{path}: {BASE_KEY} takes one file.")
            base = os.path.expanduser(base)
            base = base if base.startswith("/") or "://" in base else str(PurePath(path).parent / base)
            if not g_pathmgr.isfile(base):
                raise UserError(f"{path}: its {BASE_KEY} {base!r} does not exist.{_similar_file(base)}")
            _check_yaml(base, (*seen, path))


def _check_duplicates(node: yaml.Node, path: str, prefix: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = prefix + str(key.value)
        if name in seen and yaml.serialize(seen[name]) != yaml.serialize(value):
            raise UserError(
                f"{path}: {name} stands there twice, with two values (lines "
                f"{seen[name].start_mark.line + 1} and {value.start_mark.line + 1}). Keep one."
            )
        if name in seen:
            logger.warning("%s: %s stands there twice, with the same value", path, name)
        seen[name] = value
        _check_duplicates(value, path, f"{name}.")


def _build(section: type, tree: Any, *, prefix: str, source: str) -> Any:
    """A dataclass from a tree of outside names."""
    if not isinstance(tree, dict):
        raise UserError(f"{source}: {prefix.rstrip('.')} is a section: write KEY: value pairs, not {tree!r}.")
    types_by_name = typing.get_type_hints(section)
    values = {}
    for key, value in tree.items():
        field = _field(section, str(key), f"{prefix}{key}", source)
        kind = types_by_name[field.name]
        if dataclasses.is_dataclass(kind):
            values[field.name] = _build(kind, value, prefix=f"{prefix}{key}.", source=source)
        else:
            values[field.name] = _value(value, kind, field, f"{source}: {prefix}{key}")
    return section(**values)


def _field(section: type, name: str, key: str, source: str) -> dataclasses.Field:
    """The field of that outside name; `key` is what the user wrote, from the top."""
    for field in dataclasses.fields(section):
        if field.name.upper() == name:
            return field
    if name in REMOVED:
        raise UserError(f"{source}: {name} was removed: {REMOVED[name]}. Delete it.")
    raise UserError(f"{source}: unknown key {key}.{nearest_name(key, list(_all_keys(Config)))}")


def _all_keys(section: type, prefix: str = "") -> typing.Iterator[str]:
    for field in dataclasses.fields(section):
        kind = typing.get_type_hints(section)[field.name]
        yield prefix + field.name.upper()
        if dataclasses.is_dataclass(kind):
            yield from _all_keys(kind, f"{prefix}{field.name.upper()}.")


def _override_one(section: Any, path: list[str], text: str, key: str) -> Any:
    source = "command line"
    field = _field(type(section), path[0], key, source)
    current = getattr(section, field.name)
    if dataclasses.is_dataclass(current):
        if len(path) == 1:
            raise UserError(
                f"{source}: {key} is a section; give one of its keys, such as "
                f"{key}.{dataclasses.fields(current)[0].name.upper()}."
            )
        return dataclasses.replace(section, **{field.name: _override_one(current, path[1:], text, key)})
    if len(path) > 1 and not isinstance(current, dict):
        raise UserError(
            f"{source}: unknown key {key}; {'.'.join(key.split('.')[: -len(path) + 1])} is a value."
        )
    if len(path) > 1:
        value: Any = _set_inside(current, path[1:], parse_value(text))
    else:
        kind = typing.get_type_hints(type(section))[field.name]
        is_text = kind in (str, str | None)
        value = _value(text if is_text else parse_value(text), kind, field, f"{source}: {key}")
    return dataclasses.replace(section, **{field.name: value})


def _set_inside(tree: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    inner = value if len(path) == 1 else _set_inside(tree.get(path[0]) or {}, path[1:], value)
    return {**tree, path[0]: inner}


def _value(value: Any, kind: Any, field: dataclasses.Field, where: str) -> Any:
    """The value as the schema's type, inside its legal range."""
    if isinstance(kind, types.UnionType):
        if value is None or (isinstance(value, str) and value in ("None", "null", "~")):
            return None
        kind = next(option for option in typing.get_args(kind) if option is not type(None))
    converted = _convert(value, kind, where)
    choices = field.metadata["choices"]
    if choices and converted not in choices:
        raise UserError(
            f"{where} {converted!r}: use one of {', '.join(choices)}."
            f"{nearest_name(str(value), list(choices))}"
        )
    for number in converted if isinstance(converted, tuple) else (converted,):
        if isinstance(number, (int, float)) and not isinstance(number, bool) and not _in_range(number, field):
            raise UserError(f"{where} {value!r}: give {_range_in_words(field)}.")
    return converted


def _convert(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind`; raises UserError where that would lose or invent something."""
    if typing.get_origin(kind) is tuple:
        return _convert_list(value, kind, where)
    if typing.get_origin(kind) is dict or kind is dict:
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return with_numbers(value)
        raise UserError(f"{where} {value!r}: give a dictionary, such as {{drop_path: 0.1}}.")
    if kind is str and isinstance(value, str):
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if kind in (int, float) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = None
        if number is not None and kind is float:
            return number
        if number is not None and number == number and abs(number) != float("inf") and number == int(number):
            return int(value) if isinstance(value, int) else int(number)
    names = {str: "text", bool: "True or False", int: "a whole number", float: "a number"}
    raise UserError(f"{where} {value!r}: give {names[kind]}.")


def _convert_list(value: Any, kind: Any, where: str) -> tuple:
    if isinstance(value, str):
        value = parse_value(value)
    if not isinstance(value, (list, tuple)):
        raise UserError(f"{where} {value!r}: give a list, such as [0.45, 0.45, 0.45].")
    return tuple(_convert(item, typing.get_args(kind)[0], where) for item in value)


def _in_range(number: float, field: dataclasses.Field) -> bool:
    low, high, above = (field.metadata[name] for name in ("low", "high", "above"))
    return (
        number == number
        and (low is None or number >= low)
        and (high is None or number <= high)
        and (above is None or number > above)
    )


def _range_in_words(field: dataclasses.Field) -> str:
    low, high, above = (field.metadata[name] for name in ("low", "high", "above"))
    parts = [
        f"{low:g} or more" if low is not None else "",
        f"more than {above:g}" if above is not None else "",
    ]
    parts.append(f"at most {high:g}" if high is not None else "")
    return " and ".join(part for part in parts if part)
