"""Tests published rows again: python tools/reproduce.py --checkpoint NAME=FILE --data DATASET=DIR"""

import argparse
import shlex
import sys
from pathlib import Path

from slowfast_mlp.apps.cli import add_quiet, make_parser, run_tool, say, show_log
from slowfast_mlp.apps.reproduce.command import REPORT, reproduce
from slowfast_mlp.apps.reproduce.plan import TestInputs
from slowfast_mlp.apps.reproduce.table import PAPERS, SYNTHETIC, match_rows, read_table
from slowfast_mlp.errors import UserError

CONFIGS = Path(__file__).parents[1] / "configs"

EXAMPLES = """examples:
  python tools/reproduce.py --data kinetics=/data/k400 \\
      --checkpoint Kinetics/MORPHMLP_S_16x4=morphmlp_s_16x4.pyth
  python tools/reproduce.py --rows 'SSv*' --checkpoints weights --data ssv1=/data/ssv1 \\
      --data ssv2=/data/ssv2 --set ssv1 DATA.PATH_PREFIX /data/ssv1/frames
  python tools/reproduce.py --synthetic --out output/synthetic

Writes report.md, report.csv and report.png. The same command goes on where it stopped: a row that was tested
with the same weights, settings and list is not tested again. Rows without weights or data stay in the report
and say so. Exit status: 0 all others were tested, 1 some could not be, 2 a wrong command."""


def main(argv: list[str]) -> int:
    """Tests the rows and writes the report; returns the exit status."""
    arguments = _parser().parse_args(argv)
    show_log(quiet=arguments.quiet)
    command = shlex.join(["python", "tools/reproduce.py", *argv])
    return run_tool(
        lambda: _reproduce(arguments, command),
        after_ctrl_c="interrupted: the same command goes on where it was",
    )


def _reproduce(arguments: argparse.Namespace, command: str) -> int:
    table = arguments.table or (SYNTHETIC if arguments.synthetic else PAPERS)
    rows = read_table(table, folder=table.parent if arguments.table else CONFIGS)
    if arguments.rows:
        selected = {
            row.name for pattern in arguments.rows for row in match_rows(rows, pattern, flag="--rows")
        }
        rows = [row for row in rows if row.name in selected]
    inputs = TestInputs(
        checkpoints=_parse_pairs(arguments.checkpoint, "--checkpoint NAME=FILE"),
        checkpoint_folder=arguments.checkpoints,
        data=_parse_pairs(arguments.data, "--data DATASET=FOLDER"),
        settings=[tuple(words) for words in arguments.set],
        overrides=arguments.opts,
    )
    lines = reproduce(rows, inputs, output_dir=arguments.out, command=command, train=arguments.synthetic)
    failed = [line for line in lines if not line.result and not line.plan.missing]
    for line in failed:
        sys.stderr.write(f"{line.plan.row.name} could not be tested: {line.state}\n")
    say(str(Path(arguments.out) / REPORT))
    return 1 if failed else 0


def _parse_pairs(words: list[str], form: str) -> dict[str, str]:
    pairs = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not (name and separator and value):
            raise UserError(f"{form.split()[0]} {word!r}: write {form}.")
        pairs[name] = value
    return pairs


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "reproduce.py",
        description="Tests the rows of published tables, and writes published and measured side by side.",
        examples=EXAMPLES,
    )
    add_quiet(parser)
    parser.add_argument(
        "--table", type=Path, metavar="FILE.csv", help="own table; default: all published rows of configs/"
    )
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these rows; * and ? stand for others")
    parser.add_argument(
        "--checkpoint", action="append", default=[], metavar="NAME=FILE", help="weights of a row, or of rows"
    )
    parser.add_argument(
        "--checkpoints", default="", metavar="DIR", help="folder that holds weights as NAME.pyth"
    )
    parser.add_argument(
        "--data", action="append", default=[], metavar="DATASET=DIR", help="folder of a data set's lists"
    )
    parser.add_argument(
        "--set",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "KEY", "VALUE"),
        help="a setting of a row, of rows, or of a data set",
    )
    parser.add_argument(
        "--synthetic",
        action="store_true",
        help="the small models on the embedded videos; trains those without weights (about 10 minutes)",
    )
    parser.add_argument("--out", default="output/reproduce", metavar="DIR", help="(output/reproduce)")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="settings of all rows"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
