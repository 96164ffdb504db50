"""Words as values: what YAML 1.1 and the command line leave as text."""

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
