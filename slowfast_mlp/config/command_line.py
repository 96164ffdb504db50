"""The command line of tools/run_net.py: flags, then KEY VALUE overrides."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from slowfast_mlp.errors import UserError

YAML_ENDINGS = (".yaml", ".yml")
FLAGS_WITH_VALUE = ("--num_shards", "--shard_id", "--init_method")
EXAMPLE = """example:
  python tools/run_net.py --cfg configs/Kinetics/MORPHMLP_S_16x4.yaml \\
      DATA.PATH_TO_DATA_DIR /data/k400 TRAIN.BATCH_SIZE 64

Flags come first; everything behind them is KEY VALUE pairs, with or without --opts before them.
--print-config shows every key. Several files run one after the other; an OUTPUT_DIR given here then gets a
folder for each. Exit status: 0 done, 1 an error, 2 a command line that cannot be read, 75 stopped by a signal
and saved: the same command goes on."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What the command line said; `overrides` are those of each config file."""

    configs: tuple[str, ...]
    overrides: tuple[tuple[str, ...], ...]
    print_config: bool
    quiet: bool
    init_method: str | None


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Reads flags and overrides; `--help` and an unknown flag leave as argparse does. Raises UserError."""
    flags, pairs = _split(argv)
    parser = argparse.ArgumentParser(
        prog="run_net.py",
        description="Train and test a video backbone.",
        epilog=EXAMPLE,
        usage="run_net.py --cfg FILE.yaml [FILE.yaml ...] [flags] [--opts] KEY VALUE ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--cfg", nargs="+", required=True, metavar="FILE.yaml", help="config files")
    parser.add_argument("--print-config", action="store_true", help="show the resolved config and stop")
    parser.add_argument(
        "--quiet", action="store_true", help="warnings alone; OUTPUT_DIR/stdout.log has all lines"
    )
    parser.add_argument("--num_shards", help="machines (as NUM_SHARDS); not needed under torchrun")
    parser.add_argument("--shard_id", help="number of this machine, from 0 (as SHARD_ID)")
    parser.add_argument("--init_method", help="where machines meet: tcp://FIRST_MACHINE:PORT")
    parsed = parser.parse_args(flags)
    if parsed.num_shards is not None:
        pairs += ["NUM_SHARDS", parsed.num_shards]
    if parsed.shard_id is not None:
        pairs += ["SHARD_ID", parsed.shard_id]
    return Arguments(
        configs=tuple(parsed.cfg),
        overrides=tuple(tuple(_own_output_dir(pairs, path, len(parsed.cfg))) for path in parsed.cfg),
        print_config=parsed.print_config,
        quiet=parsed.quiet,
        init_method=parsed.init_method,
    )


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags with their values, and the overrides behind them."""
    position = 0
    while position < len(argv):
        word = argv[position]
        if word == "--opts" or not (word.startswith("--") or word == "-h"):
            break
        position += 1
        if word == "--cfg":
            position += 1  # whatever it is called, the first is a file
            while position < len(argv) and argv[position].endswith(YAML_ENDINGS):
                position += 1
        elif word in FLAGS_WITH_VALUE:
            position += 1
    pairs = [word for word in argv[position:] if word != "--opts"]
    for word in pairs:
        if word.startswith("--") or word == "-h":
            raise UserError(
                f"The flag {word} stands behind the overrides, where it would be one. Put it before them."
            )
    return list(argv[:position]), pairs


def _own_output_dir(pairs: list[str], path: str, num_configs: int) -> list[str]:
    """Several configs do not share a folder: the second would resume from the first."""
    if num_configs == 1:
        return pairs
    own = list(pairs)
    for position in range(0, len(own) - 1, 2):
        if own[position] == "OUTPUT_DIR":
            own[position + 1] = str(PurePath(own[position + 1]) / PurePath(path).stem)
    return own
