"""Differences between the settings of a checkpoint and those of a run."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import yaml

from slowfast_mlp.config.load import config_from_checkpoint, load_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.config.setting import AFFECTED
from slowfast_mlp.errors import UserError

# MODEL.ARGS that only matter while a model is trained.
TRAINING_ARGUMENTS = {"drop_path", "temporal_init"}
RESUME = "resume: "
VIEWS = "views"
TEST = (VIEWS, "scores")


class Change(NamedTuple):
    """A setting with two values, by its dotted key."""

    key: str
    before: Any
    now: Any
    affects: frozenset[str]


def stored_config(text: Any) -> Config | None:
    """The config that a checkpoint holds as text; None if it is of another program, or there is none."""
    try:
        return config_from_checkpoint(yaml.safe_load(text)) if isinstance(text, str) else None
    except (UserError, yaml.YAMLError):
        return None


def changes_between(before: Config, now: Config) -> list[Change]:
    """All settings with different values. MODEL.ARGS are compared without TRAINING_ARGUMENTS."""
    return [
        Change(key, old, new, field.metadata["affects"])
        for (key, field, old), (_, _, new) in zip(_fields(before), _fields(now))
        if _comparable(key, old) != _comparable(key, new)
    ]


def fixed_changes(changes: Sequence[Change], affected: str) -> list[str]:
    """Changes that affect "model" or "course", which must not change, as "KEY old, not new"."""
    return [f"{one.key} {one.before}, not {one.now}" for one in changes if affected in one.affects]


def training_changes(changes: Sequence[Change]) -> list[str]:
    """Changes that a resumed training notices, as "KEY new (was old)", grouped by their effect."""
    by_effect: dict[str, list[str]] = {}
    for key, old, new, affects in changes:
        for effect in (AFFECTED[name] for name in AFFECTED if name in affects):
            if effect.startswith(RESUME):
                by_effect.setdefault(effect.removeprefix(RESUME), []).append(f"{key} {new} (was {old})")
    return [f"{', '.join(changed)}: {effect}" for effect, changed in by_effect.items()]


def settings_of(path: str) -> dict[str, Any]:
    """The settings in a config file, by their dotted keys. Raises UserError."""
    return all_settings(load_config(path))


def default_settings() -> dict[str, Any]:
    """The default of every setting, by its dotted key."""
    return all_settings(Config())


def all_settings(config: Config) -> dict[str, Any]:
    """Every setting by its dotted key."""
    return {key: value for key, _, value in _fields(config)}


def describe_settings(config: Config, *affected: str) -> str:
    """The settings that affect one of `affected` (keys of AFFECTED) as JSON: with VIEWS, tests with equal
    texts see the same clips; with TEST, of the same weights, they have the same figures.
    """
    names = {*affected}
    return json.dumps(
        {key: value for key, field, value in _fields(config) if field.metadata["affects"] & names}
    )


def changed_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, by their dotted keys, that differ from their defaults."""
    defaults = default_settings()
    return {key: value for key, value in settings.items() if value != defaults[key]}


def _fields(section: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field, Any]]:
    """Dotted key, field and value of every setting."""
    for field in dataclasses.fields(section):
        key, value = f"{prefix}{field.name.upper()}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _fields(value, f"{key}.")
        else:
            yield key, field, value


def _comparable(key: str, value: Any) -> Any:
    if key == "MODEL.ARGS":
        return {name: item for name, item in value.items() if name not in TRAINING_ARGUMENTS}
    return value
