"""What the command lines of tools/ have in common: their help, what they show, and how they end."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from slowfast_mlp.errors import NO_ROOM, Stopped, UserError
from slowfast_mlp.log.terminal import discard_output

WRONG_COMMAND = 2  # argparse's own
INTERRUPTED = 130  # 128 and SIGINT, as of shells
TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: what a scheduler should put into its queue again


def make_parser(
    tool: str, *, description: str, examples: str, usage: str | None = None
) -> argparse.ArgumentParser:
    """The parser of tools/`tool`, whose help ends with the examples as they are written."""
    return argparse.ArgumentParser(
        prog=tool,
        usage=usage,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Adds --quiet, which `show_log` obeys."""
    parser.add_argument("--quiet", action="store_true", help="no progress, no notes; warnings are shown")


def show_log(*, quiet: bool) -> None:
    """Sends what the package says on the way to standard error: all, or warnings alone."""
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, format="%(message)s")


def parse_with_overrides(
    parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Flags, and the KEY VALUE pairs between or behind them, with or without --opts; leaves as argparse does
    for unknown flags.
    """
    arguments, overrides = parser.parse_known_args(argv)
    overrides = [word for word in overrides if word != "--opts"]
    if flags := [word for word in overrides if word.startswith("--")]:
        parser.error(f"unknown flags {' '.join(flags)} (see --help)")
    return arguments, overrides


def whole_number(least: int) -> Callable[[str], int]:
    """What makes a whole number of `least` or more of a flag's text, as argparse's `type`."""

    def number(text: str) -> int:
        try:
            found = int(text)
        except ValueError:
            found = least - 1
        if found < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} or more")
        return found

    return number


def run_tool(
    work: Callable[[], int], *, after_ctrl_c: str = "interrupted", wrong: int = WRONG_COMMAND
) -> int:
    """The exit status of `work`, or of what ended it: `wrong` with a line for the user's mistakes and for
    files that cannot be used, INTERRUPTED after Ctrl-C, TRY_AGAIN where a signal stopped a run that is saved,
    0 once nobody reads the output any more.
    """
    try:
        return work()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return wrong
    except Stopped as stop:
        sys.stderr.write(f"{stop}. The same command goes on.\n")
        return TRY_AGAIN
    except BrokenPipeError:
        discard_output(sys.stdout)
        return 0
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or 'a file'} cannot be used ({error.strerror or error}).\n")
        return wrong
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{after_ctrl_c}\n")
        return INTERRUPTED


def say(text: str) -> None:
    """Writes lines to standard output, at once: who reads a pipe wants each when it is there.

    Raises UserError where there is no room.
    """
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        discard_output(sys.stdout)
        raise UserError(f"Standard output cannot be written to ({error.strerror}). Make room.") from error


def has_colours() -> bool:
    """Whether standard output is a terminal that is not asked to show none (no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def demand_place(path: Path, flag: str) -> None:
    """Raises UserError unless a file can be made there: known now, not after hours."""
    if path.is_dir():
        raise UserError(f"{flag} {path} cannot be written: it is a folder. Name a file.")
    if not path.parent.is_dir():
        raise UserError(f"{flag} {path} cannot be written: there is no folder {path.parent}.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UserError(f"{flag} {path} cannot be written (Permission denied). Name a file that can.")


@contextmanager
def written_to(path: Path, flag: str) -> Iterator[None]:
    """Makes a UserError that names the flag of what keeps `path`, a file or folder, or files in it from being
    written.
    """
    try:
        yield
    except OSError as error:
        files = [Path(name) for name in (error.filename, error.filename2) if isinstance(name, str)]
        is_of_path = any(path in (file, *file.parents) or file in path.parents for file in files)
        # Of a file that is open the system says that there is no room, without its name.
        if not (is_of_path or (not files and error.errno in NO_ROOM)):
            raise
        where = files[0] if files else path
        raise UserError(
            f"{flag} {path} cannot be written to ({where}: {error.strerror}). Mend that, or choose another."
        ) from error
