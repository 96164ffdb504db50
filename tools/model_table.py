"""Prints what every variant costs beside what was published: python tools/model_table.py --format markdown"""

import argparse
import sys

from slowfast_mlp.model_table import FORMATS, table


def main(argv: list[str]) -> int:
    """Writes the table to standard output; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="model_table.py",
        description="Parameters, GFLOPs and activations of all variants beside the published figures.",
        epilog="example: python tools/model_table.py --model morphmlp --format csv",
    )
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--model", help="one file of slowfast_mlp/models; all when left out")
    arguments = parser.parse_args(argv)
    rows = []
    for row in table(arguments.model):
        sys.stderr.write(f"{row[0]}, {row[1]} frames\n")  # some take seconds
        rows.append(row)
    if not rows:
        parser.error(f"--model {arguments.model}: no such model in the table")
    sys.stdout.write(FORMATS[arguments.format](rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
