"""Files of a report."""

import json
from pathlib import Path
from typing import Any

from slowfast_mlp.atomic_file import write_file
from slowfast_mlp.errors import UserError


def make_folder(path: str) -> None:
    """Makes a folder and those above it, where they are not there. Raises UserError."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {path} cannot be made ({error.strerror}). Give another --out."
        ) from error


def write_json(path: str, tree: Any) -> None:
    """Writes plain values as JSON."""
    write_file(path, json.dumps(tree, indent=1).encode())


def read_json(path: str) -> Any:
    """What `write_json` wrote, None if there is no file. Raises UserError for another file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}). Delete it: it is made again.") from error
