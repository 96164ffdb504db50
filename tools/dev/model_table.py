"""Prints the cost of every variant next to its published cost: python tools/dev/model_table.py"""

import argparse
import sys

from slowfast_mlp.apps.cli import add_quiet, make_parser, run_tool, say
from slowfast_mlp.apps.model_table import FORMATS, ROWS, table


def main(argv: list[str]) -> int:
    """Writes the table to standard output; returns the exit status."""
    parser = make_parser(
        "model_table.py",
        description="Parameters, GFLOPs and activations of all variants next to the published figures.",
        examples="example:\n  python tools/dev/model_table.py --model morphmlp --format csv",
    )
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--model", help="one file of slowfast_mlp/models; all when left out")
    add_quiet(parser)
    arguments = parser.parse_args(argv)
    return run_tool(lambda: _print_table(parser, arguments))


def _print_table(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    rows = []
    for row in table(arguments.model):
        if not arguments.quiet:
            sys.stderr.write(f"{row[0]}, {row[1]} frames\n")  # some take seconds
        rows.append(row)
    if not rows:
        names = ", ".join(dict.fromkeys(row.name for row in ROWS))
        parser.error(f"--model {arguments.model}: no such model in the table; there is {names}")
    say(FORMATS[arguments.format](rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
