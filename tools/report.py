"""A run as one HTML page, or several side by side: python tools/report.py OUTPUT_DIR"""

import argparse
import logging
import sys
from pathlib import Path

from slowfast_mlp.apps.cli import add_quiet, demand_place, make_parser, run_tool, say, show_log
from slowfast_mlp.apps.predict.load import find_device
from slowfast_mlp.apps.report.write import write_comparison, write_report

EXAMPLE = """examples:
  python tools/report.py output/Kinetics/MORPHMLP_S_16x4
  python tools/report.py --compare output/a output/b output/c --out compared.html

The page holds all that it shows and opens from the disk. Exit status: 0, or 2 for what is not there."""


def main(argv: list[str]) -> int:
    """Writes the page, and says where; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if bool(arguments.output_dir) == bool(arguments.compare):
        parser.error("name the OUTPUT_DIR of a run, or --compare several")
    show_log(quiet=arguments.quiet)
    return run_tool(lambda: _report(arguments))


def _report(arguments: argparse.Namespace) -> int:
    find_device(arguments.device)  # a wrong name is no reason to leave frames out
    if arguments.out:
        demand_place(arguments.out, "--out")
    if arguments.compare:
        path = arguments.out or Path("compared.html")
        write_comparison(arguments.compare, path)
    else:
        max_seconds = 0.0 if arguments.no_frames else None
        path = write_report(
            arguments.output_dir,
            path=arguments.out,
            device=arguments.device,
            max_seconds=max_seconds,
            progress=logging.getLogger(__name__).info,
        ).path
    say(str(path))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "report.py",
        usage="report.py OUTPUT_DIR [flags] | report.py --compare OUTPUT_DIR OUTPUT_DIR ... [flags]",
        description="Writes what a run did, what its test got wrong and what the model looks at as one page.",
        examples=EXAMPLE,
    )
    add = parser.add_argument
    add("output_dir", nargs="?", metavar="OUTPUT_DIR", help="folder of a run, also of one under way")
    add("--compare", nargs="+", metavar="OUTPUT_DIR", help="folders of runs to lay over each other")
    add("--out", type=Path, metavar="FILE.html", help="default OUTPUT_DIR/report.html, or compared.html")
    add("--no-frames", action="store_true", help="without frames and token mixing: no model is loaded")
    add("--device", default="auto", help="for the frames: auto (a GPU if there is one), cpu, cuda, mps")
    add_quiet(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
