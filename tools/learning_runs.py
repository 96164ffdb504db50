"""Trains small models on the embedded videos and their shuffled controls: python tools/learning_runs.py"""

import argparse
import sys
from pathlib import Path

from slowfast_mlp.errors import UserError
from slowfast_mlp.learning import CONTROL, LEARNS, learning_runs, markdown

CONFIGS = Path(__file__).parents[1] / "configs" / "Synthetic"


def main(argv: list[str]) -> int:
    """Writes the table of docs/model_zoo.md to standard output; 1 unless every model uses time."""
    parser = argparse.ArgumentParser(
        prog="learning_runs.py",
        description=f"Every synthetic config must reach {LEARNS:g} % top-1, and stay under {CONTROL:g} % with"
        " the frames of every clip shuffled. About an hour on 2 CPU cores; goes on where it stopped.",
        epilog="example: python tools/learning_runs.py --cfg configs/Synthetic/MORPHMLP_NANO_8x3.yaml",
    )
    shipped = sorted(str(path) for path in CONFIGS.glob("*.yaml") if path.stem != "Base")
    parser.add_argument("--cfg", nargs="+", default=shipped, help="all of configs/Synthetic")
    parser.add_argument("--output-dir", default="output/learning_runs")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE")
    arguments = parser.parse_args(argv)
    try:
        rows = list(learning_runs(arguments.cfg, arguments.output_dir, arguments.opts))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(markdown(rows) + "\n")
    return 0 if all(row.uses_time for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
