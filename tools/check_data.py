"""Checks the lists and files of a config: python tools/check_data.py --cfg FILE KEY VALUE ..."""

import argparse
import logging
import sys
from pathlib import Path

from slowfast_mlp.check import check
from slowfast_mlp.config.load import load_config
from slowfast_mlp.corpus.check import summary, write_csv, write_skip_list
from slowfast_mlp.corpus.processes import default_num_processes
from slowfast_mlp.errors import UserError

EXAMPLE = """example:
  python tools/check_data.py --cfg configs/Kinetics/MORPHMLP_S_16x4.yaml \\
      DATA.PATH_TO_DATA_DIR /data/lists DATA.PATH_PREFIX /data/videos \\
      --decode all --report report.csv --write-skip-list bad.txt

The settings are those of run_net.py. An interrupted check goes on where it was: what is known of each file
stays in the cache until the file changes. Exit status: 0 no problems, 1 problems, 2 a wrong command."""


def main(argv: list[str]) -> int:
    """Checks, prints the summary and writes the reports; returns the exit status."""
    parser = _parser()
    arguments, overrides = parser.parse_known_args(argv)
    overrides = [word for word in overrides if word != "--opts"]
    if any(word.startswith("--") for word in overrides):
        parser.error(f"unknown flags among the overrides {' '.join(overrides)}")
    if arguments.jobs < 1 or arguments.timeout <= 0:
        parser.error("--jobs takes 1 or more, --timeout more than 0")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for path in filter(None, (arguments.report, arguments.write_skip_list)):
            if not path.parent.is_dir():  # known now, not after hours
                raise UserError(f"{path} cannot be written: there is no folder {path.parent}.")
        report = check(
            load_config(arguments.cfg, overrides),
            split=arguments.split,
            decode=arguments.decode,
            num_processes=arguments.jobs,
            timeout_sec=arguments.timeout,
            cache=arguments.cache,
        )
        sys.stdout.write(summary(report) + "\n")
        if arguments.report:
            write_csv(report, arguments.report)
        if arguments.write_skip_list:
            num_skipped = write_skip_list(report, arguments.write_skip_list)
            sys.stdout.write(f"{num_skipped} paths written to {arguments.write_skip_list}\n")
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: the same command goes on where it was\n")
        return 130
    return 1 if report.has_problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="check_data.py",
        usage="check_data.py --cfg FILE.yaml [flags] [KEY VALUE ...]",
        description="Checks every video of the lists that a config reads, before a run does.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
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
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
