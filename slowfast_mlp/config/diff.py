"""What differs between the settings of a checkpoint and those of now."""

import dataclasses
from typing import Any

import yaml

from slowfast_mlp.config.load import config_from_checkpoint, load_config
from slowfast_mlp.config.schema import Config
from slowfast_mlp.errors import UserError

# What a model computes depends on these, though weights of the same shapes would fit.
MODEL_SETTINGS = ("MODEL.NAME", "MODEL.VARIANT", "MODEL.ARGS", "DATA.NUM_FRAMES", "DATA.TRAIN_CROP_SIZE")
# Arguments of a backbone that only matter while it is trained.
TRAINING_ARGUMENTS = {"drop_path", "temporal_init"}
# What the course of a training depends on.
TRAINING_SETTINGS = (
    "SOLVER.",
    "DATA.",
    "AUG.",
    "MIXUP.",
    "MODEL.",
    "BN.",
    "TRAIN.EMA",
    "TRAIN.ACCUMULATE_STEPS",
    "TRAIN.BATCH_SIZE",
    "TRAIN.DATASET",
    "TRAIN.SAMPLER",
    "TRAIN.PRECISION",
    "RNG_SEED",
)
# What those settings change for a training that goes on, by the longest beginning of their keys that is here.
EFFECTS = {
    "": "from the next step on",
    "SOLVER.BASE_LR": "the learning rate leaves its curve at the next step",
    "SOLVER.COSINE_END_LR": "the learning rate leaves its curve at the next step",
    "SOLVER.WARMUP": "the learning rate leaves its curve at the next step",
    "SOLVER.MAX_EPOCH": "the learning rate leaves its curve at the next step",
    "TRAIN.BATCH_SIZE": "the same order of videos in steps of another size; no learning rate is scaled",
    "TRAIN.PRECISION": "sums are rounded otherwise",
    "TRAIN.ACCUMULATE_STEPS": "sums are rounded otherwise, and batch norm sees other parts of a batch",
    "TRAIN.EMA": "the average follows otherwise from the next step on",
}
# With another of these nothing that was done could be gone on with: other epochs, another optimiser's state.
COURSE_SETTINGS = ("SOLVER.OPTIMIZING_METHOD",)
# Where files lie is not the course of a training.
PLACES = (
    "DATA.PATH_TO_DATA_DIR",
    "DATA.PATH_PREFIX",
    "DATA.DECODER",
    "DATA.DECODE_TIMEOUT_SEC",
    "DATA.MAX_FAILED_FRACTION",
)


def stored_config(text: Any) -> Config | None:
    """The config that a checkpoint holds as text; None if it is of another program, or there is none."""
    try:
        return config_from_checkpoint(yaml.safe_load(text)) if isinstance(text, str) else None
    except (UserError, yaml.YAMLError):
        return None


def model_changes(before: Config, now: Config) -> list[str]:
    """Settings of the model that differ, as "KEY old, not new"."""
    return [f"{key} {old}, not {new}" for key, old, new in _differing(before, now) if key in MODEL_SETTINGS]


def training_changes(before: Config, now: Config) -> list[str]:
    """Settings of the training that differ, as "KEY new (was old)", those with the same effect together."""
    by_effect: dict[str, list[str]] = {}
    for key, old, new in _differing(before, now):
        if key.startswith(TRAINING_SETTINGS) and key not in PLACES:
            effect = EFFECTS[max(filter(key.startswith, EFFECTS), key=len)]
            by_effect.setdefault(effect, []).append(f"{key} {new} (was {old})")
    return [f"{', '.join(changed)}: {effect}" for effect, changed in by_effect.items()]


def course_changes(before: Config, now: Config) -> list[str]:
    """Settings that differ with which no training goes on, as "KEY old, not new"."""
    return [
        f"{key} {old}, not {new}"
        for key, old, new in _differing(before, now)
        if key.startswith(COURSE_SETTINGS)
    ]


def settings_of(path: str) -> dict[str, Any]:
    """The settings in a run's config file, by their outside keys. Raises UserError."""
    return all_settings(load_config(path))


def default_settings() -> dict[str, Any]:
    """What every setting is where nobody sets it, by its outside key."""
    return all_settings(Config())


def all_settings(config: Config) -> dict[str, Any]:
    """Every setting by its outside key."""
    return _flat(config)


def changed_settings(config: Config) -> dict[str, Any]:
    """The settings that are not what they are by default, by their outside keys."""
    defaults = default_settings()
    return {key: value for key, value in all_settings(config).items() if value != defaults[key]}


def _differing(before: Config, now: Config) -> list[tuple[str, Any, Any]]:
    old, new = all_settings(before), all_settings(now)
    return [(key, old[key], new[key]) for key in old if _essence(key, old[key]) != _essence(key, new[key])]


def _essence(key: str, value: Any) -> Any:
    """The value to compare: arguments of a backbone without those of TRAINING_ARGUMENTS."""
    if key == "MODEL.ARGS":
        return {name: item for name, item in value.items() if name not in TRAINING_ARGUMENTS}
    return value


def _flat(section: Any, prefix: str = "") -> dict[str, Any]:
    """Outside keys and values."""
    flat = {}
    for field in dataclasses.fields(section):
        key, value = f"{prefix}{field.name.upper()}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            flat |= _flat(value, f"{key}.")
        else:
            flat[key] = value
    return flat
