"""Settings as a file of PySlowFast or a fork has them."""

import logging
from collections.abc import Sequence
from typing import Any

from slowfast_mlp.config.compat.keys import DEFAULTS
from slowfast_mlp.config.parsing import parse_value, with_numbers
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)


class Theirs:
    """What a file says under its own keys (`given`), else PySlowFast's defaults.

    `own_keys` are keys of ours that were given behind the file. `takes_model` is whether the file's model is
    taken too, and `pretrain_path` the weights that the model's section names; both are set when the model is
    known.
    """

    def __init__(self, given: dict[str, Any], *, source: str, own_keys: Sequence[str]):
        self.given = {key: _as_value(key, value) for key, value in given.items()}
        self.source = source
        self.own_keys = tuple(own_keys)
        self.takes_model = "MODEL.NAME" not in own_keys
        self.pretrain_path: str | None = None
        self._named: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        """The value of their key, which must be one of DEFAULTS."""
        return self.given.get(key, DEFAULTS[key])

    def number(self, key: str) -> Any:
        """The value of a key that is a number. Raises UserError."""
        value = self[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError(f"{self.source}: {key} {value!r}: give a number.")
        return value

    def numbers(self, key: str) -> tuple[Any, ...]:
        """The values of a key that is a list of numbers. Raises UserError."""
        value = self[key]
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, (int, float)) for item in value):
            raise UserError(f"{self.source}: {key} {value!r}: give a list of numbers.")
        return tuple(value)

    def name_dead(self, key: str, reason: str) -> None:
        """Says once, if the file has the key, that it has no effect, and why."""
        if key in self.given and key not in self._named:
            self._named.add(key)
            logger.warning("%s: %s has no effect: %s", self.source, key, reason)


def _as_value(key: str, value: Any) -> Any:
    """The value, with numbers and (tuples) that YAML 1.1 leaves as text; a text stays what it is."""
    if isinstance(DEFAULTS.get(key), str):
        return value
    if isinstance(value, str) and value.startswith(("(", "[")):
        return parse_value(value)
    return with_numbers(value)
