"""Measures on this machine: python tools/benchmark.py SECTION [flags]"""

import argparse
import sys
from functools import partial
from pathlib import Path

import torch

from slowfast_mlp.apps.cli import (
    demand_place,
    make_parser,
    run_tool,
    say,
    show_log,
    whole_number,
    written_to,
)
from slowfast_mlp.benchmarks import evaluation, loader, model, roofline, train_step
from slowfast_mlp.benchmarks.load_reference import load_reference
from slowfast_mlp.benchmarks.tables import as_markdown, describe_machine, load_average, write_json

SECTIONS = {"data": loader, "step": train_step, "floor": roofline, "model": model, "eval": evaluation}
REFERENCES = Path(__file__).parents[1] / "benchmarks" / "reference"
MIN_ROUNDS = 5

EXAMPLE = """examples:
  python tools/benchmark.py data --corpus /tmp/corpus --json data.json
  python tools/benchmark.py data --list train.csv --model morphmlp S
  python tools/benchmark.py model morphmlp S --precision bf16 --history benchmarks/history.csv
  python tools/benchmark.py eval --model morphmlp S

Every figure is of one thread: seconds of the processor, and those on the clock next to them. What is compared
runs in turns (A B B A). A spread (p25 to p75) over 10 % is called noisy: look at the load and measure
again."""


def main(argv: list[str]) -> int:
    """Measures one section, prints its tables and writes them; returns the exit status."""
    arguments = _parser().parse_args(argv)
    show_log(quiet=False)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else MIN_ROUNDS)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run_tool(lambda: _measure(arguments))
    finally:
        torch.set_num_threads(num_threads)


def _measure(arguments: argparse.Namespace) -> int:
    if arguments.json:
        demand_place(arguments.json, "--json")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    load_before = load_average()
    reference = partial(load_reference, folder=REFERENCES)
    report = SECTIONS[arguments.section].run(arguments, reference=reference, device=device)
    report.machine = {
        **describe_machine(device),
        "rounds": str(arguments.rounds),
        "load average": f"{load_before} before, {load_average()} after",
    }
    say(as_markdown(report))
    if arguments.json:
        with written_to(arguments.json, "--json"):
            write_json(report, arguments.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "benchmark.py", description="Measures parts of the project on this machine.", examples=EXAMPLE
    )
    sections = parser.add_subparsers(dest="section", required=True, metavar="SECTION")
    for name, section in SECTIONS.items():
        section_parser = sections.add_parser(name, help=section.DESCRIPTION, allow_abbrev=False)
        section_parser.add_argument(
            "--rounds", type=whole_number(1), help=f"rounds of A B B A ({MIN_ROUNDS}; 1 with --quick)"
        )
        section_parser.add_argument(
            "--quick", action="store_true", help="small and short: whether it runs at all"
        )
        section_parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
        section.add_arguments(section_parser)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
