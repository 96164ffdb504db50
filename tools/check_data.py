"""Checks the lists and files of a config: python tools/check_data.py --cfg FILE KEY VALUE ..."""

import argparse
import sys
from pathlib import Path

from slowfast_mlp.apps.check_data.command import check
from slowfast_mlp.apps.check_data.report import as_json, summary, write_csv, write_skip_list
from slowfast_mlp.apps.cli import (
    add_quiet,
    demand_place,
    make_parser,
    parse_with_overrides,
    run_tool,
    say,
    show_log,
    written_to,
)
from slowfast_mlp.apps.worker_pool import default_num_processes
from slowfast_mlp.config.load import load_config

EXAMPLE = """example:
  python tools/check_data.py --cfg configs/Kinetics/MORPHMLP_S_16x4.yaml \\
      DATA.PATH_TO_DATA_DIR /data/lists DATA.PATH_PREFIX /data/videos \\
      --decode all --report report.csv --write-skip-list bad.txt

The settings are those of run_net.py. An interrupted check goes on where it was: what is known of each file
stays in the cache until the file changes. Exit status: 0 no problems, 1 problems, 2 a wrong command."""


def main(argv: list[str]) -> int:
    """Checks, prints the summary and writes the reports; returns the exit status."""
    parser = _parser()
    arguments, overrides = parse_with_overrides(parser, argv)
    if arguments.jobs < 1 or arguments.timeout <= 0:
        parser.error("--jobs takes 1 or more, --timeout more than 0")
    show_log(quiet=arguments.quiet)
    return run_tool(
        lambda: _check(arguments, overrides),
        after_ctrl_c="interrupted: the same command goes on where it was",
    )


def _check(arguments: argparse.Namespace, overrides: list[str]) -> int:
    for flag in ("report", "write_skip_list"):
        if path := getattr(arguments, flag):
            demand_place(path, f"--{flag.replace('_', '-')}")
    config = load_config(arguments.cfg, overrides)
    report = check(
        config,
        split=arguments.split,
        decode=arguments.decode,
        num_processes=arguments.jobs,
        timeout_sec=arguments.timeout,
        cache=arguments.cache,
    )
    for text in as_json(report) if arguments.json else [summary(report)]:
        say(text)
    if arguments.report:
        with written_to(arguments.report, "--report"):
            write_csv(report, arguments.report)
        if not arguments.json:
            say(f"every video is in {arguments.report}")
    if arguments.write_skip_list:
        with written_to(arguments.write_skip_list, "--write-skip-list"):
            known = config.data.skip_list
            num_skipped = write_skip_list(report, arguments.write_skip_list, known=known)
        if not arguments.json:
            say(f"{num_skipped} paths written to {arguments.write_skip_list}")
    return 1 if report.has_problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "check_data.py",
        usage="check_data.py --cfg FILE.yaml [flags] [KEY VALUE ...]",
        description="Checks the settings of a config and every video of its lists, before a run does.",
        examples=EXAMPLE,
    )
    parser.add_argument("--cfg", required=True, metavar="FILE.yaml", help="config, as for run_net.py")
    parser.add_argument("--split", choices=("train", "val", "test"), help="one split; else all that are read")
    parser.add_argument(
        "--decode",
        choices=("none", "ends", "all"),
        default="ends",
        help="what is decoded: nothing, the first and the last frame (default), or every frame",
    )
    parser.add_argument(
        "--jobs", type=int, default=default_num_processes(), help="processes; default one a core"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, help="seconds after which a file is given up (60)"
    )
    parser.add_argument("--cache", type=Path, help="file to remember in; default OUTPUT_DIR/check_data.jsonl")
    parser.add_argument("--report", type=Path, metavar="FILE.csv", help="write a line for every video")
    parser.add_argument(
        "--write-skip-list", type=Path, metavar="FILE", help="write the paths that cannot be read, one a line"
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for every finding, no summary")
    add_quiet(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
