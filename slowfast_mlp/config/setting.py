"""What the schema knows of a setting: default, meaning, legal range, and what it affects."""

import dataclasses
from typing import Any

# What a setting can affect. A value that starts with "resume: " is what changes when a run resumes with
# another value of the setting.
AFFECTED = {
    "model": "the function that the model computes: weights trained with another value do not fit",
    "course": "epochs and optimizer state: a training cannot resume with another value",
    "views": "the clips that a test sees, and how they pass through a model",
    "scores": "the scores of a test, of the same clips",
    "training": "resume: from the next step on",
    "lr": "resume: the learning rate leaves its curve at the next step",
    "batch": "resume: the same order of videos in steps of another size; no learning rate is scaled",
    "rounding": "resume: sums are rounded otherwise",
    "accumulation": "resume: sums are rounded otherwise, and batch norm sees other parts of a batch",
    "ema": "resume: the average follows otherwise from the next step on",
}


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] | None = None,
    affects: str | tuple[str, ...] = (),
) -> Any:
    """A field of a section, with its legal range: `low` <= value <= `high` and value > `above`, in lists too.

    `affects` names everything that depends on the setting (a key of AFFECTED each); a setting without it
    changes no result.
    """
    affects = (affects,) if isinstance(affects, str) else affects
    metadata = {"meaning": meaning, "low": low, "high": high, "above": above, "choices": choices}
    metadata["affects"] = frozenset(affects)
    if default is dict:
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)
