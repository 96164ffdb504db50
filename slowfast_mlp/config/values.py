"""Words as values: what YAML 1.1 and the command line leave as text, and names that were mistyped."""

import difflib
from collections.abc import Sequence
from typing import Any

import yaml


def parse_value(text: str) -> Any:
    """A value as written on the command line: None, numbers, [lists], (tuples), {dictionaries}, words."""
    stripped = text.strip()
    if stripped.startswith("(") and stripped.endswith(")"):
        stripped = f"[{stripped[1:-1].rstrip(', ')}]"
    try:
        return with_numbers(yaml.safe_load(stripped))
    except yaml.YAMLError:
        return text


def with_numbers(value: Any) -> Any:
    """YAML 1.1 reads 2e-4 and None as words; inside free dictionaries no schema says what they are."""
    if isinstance(value, dict):
        return {key: with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_numbers(item) for item in value]
    if value == "None":  # "none" is a word, and an argument of some backbones
        return None
    if isinstance(value, str) and value[:1] in "+-.0123456789" and value:
        try:
            return float(value)
        except ValueError:
            return value
    return value


def nearest_name(name: str, names: Sequence[str]) -> str:
    """The closest known name: by the whole, or by its last part when it was put into another section."""
    same_end = [known for known in names if known.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    folded = {known.upper(): known for known in names}
    found = (
        [folded[name.upper()]]
        if name.upper() in folded
        else close
        if name not in same_end and close
        else same_end
    )
    return f" Did you mean {found[0]}?" if found else ""
