"""Writes docs/configuration.md from the schema: python tools/dev/config_reference.py"""

import sys
from pathlib import Path

from slowfast_mlp.apps.cli import make_parser, run_tool, written_to
from slowfast_mlp.apps.config_reference import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def main(argv: list[str]) -> int:
    """Writes the page; returns the exit status."""
    parser = make_parser(
        "config_reference.py",
        description="Makes the reference of all settings.",
        examples="example:\n  python tools/dev/config_reference.py --out configuration.md",
    )
    parser.add_argument("--out", type=Path, default=PAGE, metavar="FILE", help="docs/configuration.md")
    return run_tool(lambda: _write(parser.parse_args(argv).out))


def _write(path: Path) -> int:
    with written_to(path, "--out"):
        path.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
