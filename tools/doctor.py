"""Checks an installation: python tools/doctor.py"""

import argparse
import json
import sys
from importlib.util import find_spec

EXAMPLE = """examples:
  python tools/doctor.py
  python tools/doctor.py --output-dir /scratch/runs --json

Looks at versions, devices, decoders (a video is written and read), a training step on each device, free disk
space, shared memory and open files. Exit status: 0 nothing is wrong (warnings may be), 1 something is."""


def main(argv: list[str]) -> int:
    """Prints a line for everything that is looked at; returns the exit status."""
    # Not command_line.make_parser: this runs where the package cannot be imported, too.
    parser = argparse.ArgumentParser(
        prog="doctor.py",
        description="Says what of an installation works on this machine, and how to mend the rest.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output-dir", default="output", metavar="DIR", help="where runs will write (output)"
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for everything looked at")
    parser.add_argument("--quiet", action="store_true", help="only what is wrong, and warnings")
    arguments = parser.parse_args(argv)
    if find_spec("torch") is None:
        sys.stderr.write("wrong  torch is not installed: see INSTALL.md\n")
        return 1
    try:
        from slowfast_mlp.apps.cli import has_colours, run_tool, say
        from slowfast_mlp.apps.doctor import OK, examine, in_words, is_usable
    except ImportError as error:  # the first thing that an incomplete installation shows
        sys.stderr.write(f"wrong  the package cannot be imported ({error}): run pip install -e . again\n")
        return 1

    def work() -> int:
        findings = []
        for finding in examine(arguments.output_dir):
            findings.append(finding)
            if finding.state != OK or not arguments.quiet:
                text = in_words(finding, colours=has_colours())
                say(json.dumps(finding._asdict()) if arguments.json else text)
        return 0 if is_usable(findings) else 1

    return run_tool(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
