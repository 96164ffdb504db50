"""Trains small models on the embedded videos, and on shuffled frames: python tools/dev/shuffle_control.py"""

import argparse
import sys
from pathlib import Path

from slowfast_mlp.apps.cli import make_parser, run_tool, say
from slowfast_mlp.apps.shuffle_control import CONTROL, LEARNS, learning_runs, markdown

CONFIGS = Path(__file__).parents[2] / "configs" / "Synthetic"


def main(argv: list[str]) -> int:
    """Writes the table of docs/model_zoo.md to standard output; 1 unless every model uses time."""
    parser = make_parser(
        "shuffle_control.py",
        description=f"Every synthetic config must reach {LEARNS:g} % top-1, and stay under {CONTROL:g} % with"
        " the frames of every clip shuffled. About an hour on 2 CPU cores; goes on where it stopped.",
        examples="example:\n  python tools/dev/shuffle_control.py "
        "--cfg configs/Synthetic/MORPHMLP_NANO_8x3.yaml",
    )
    shipped = sorted(str(path) for path in CONFIGS.glob("*.yaml") if path.stem != "Base")
    parser.add_argument("--cfg", nargs="+", default=shipped, help="all of configs/Synthetic")
    parser.add_argument("--output-dir", default="output/learning_runs", help="folder of all runs")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE")
    arguments = parser.parse_args(argv)
    return run_tool(lambda: _learn(arguments), after_ctrl_c="interrupted: the same command goes on", wrong=1)


def _learn(arguments: argparse.Namespace) -> int:
    rows = list(learning_runs(arguments.cfg, arguments.output_dir, arguments.opts))
    say(markdown(rows))
    return 0 if all(row.uses_time for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
