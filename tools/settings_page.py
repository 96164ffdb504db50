"""Writes docs/configuration.md from the schema: python tools/settings_page.py"""

import argparse
import sys
from pathlib import Path

from slowfast_mlp.settings_page import page

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"


def main(argv: list[str]) -> int:
    """Writes the page; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="settings_page.py",
        description="Makes the reference of all settings.",
        epilog="example: python tools/settings_page.py --out /tmp/configuration.md",
    )
    parser.add_argument("--out", type=Path, default=PAGE, metavar="FILE", help="docs/configuration.md")
    arguments = parser.parse_args(argv)
    arguments.out.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
