"""Writes weights in our format: python tools/convert_checkpoint.py THEIRS OURS --cfg FILE KEY VALUE ..."""

import argparse
import sys
from pathlib import Path

from slowfast_mlp.apps.cli import demand_place, make_parser, parse_with_overrides, run_tool, say, show_log
from slowfast_mlp.apps.convert import convert
from slowfast_mlp.config.load import dump_config, load_config
from slowfast_mlp.errors import UserError

EXAMPLE = """example:
  python tools/convert_checkpoint.py checkpoint_epoch_00060.pyth morphmlp_s_16x4.pyth \\
      --cfg configs/Kinetics/MORPHMLP_S_16x4.yaml

The config names the model that the weights are for. An image model's weights are inflated when it is a video
model; what no weight is found for keeps its start, and the report says so.
Exit status: 0 written, 1 not, 2 a command line that cannot be read."""


def main(argv: list[str]) -> int:
    """Converts one file and prints the report and the sha256; returns the exit status."""
    parser = make_parser(
        "convert_checkpoint.py",
        usage="convert_checkpoint.py SOURCE TARGET --cfg FILE.yaml [KEY VALUE ...]",
        description="Writes a checkpoint of the authors' code, or of an image model, in our format.",
        examples=EXAMPLE,
    )
    parser.add_argument("source", help="checkpoint in any wrapping: flat, model_state, state_dict, model ...")
    parser.add_argument("target", help="file to write")
    parser.add_argument("--cfg", required=True, help="config of the model")
    arguments, overrides = parse_with_overrides(parser, argv)
    show_log(quiet=False)
    return run_tool(lambda: _convert(arguments, overrides), wrong=1)


def _convert(arguments: argparse.Namespace, overrides: list[str]) -> int:
    if Path(arguments.target).exists():
        raise UserError(f"{arguments.target} exists already; choose another name.")
    demand_place(Path(arguments.target), "TARGET")
    config = load_config(arguments.cfg, overrides)
    report, digest = convert(
        arguments.source,
        arguments.target,
        model=config.model,
        data=config.data,
        config_text=dump_config(config),
        seed=config.rng_seed,
    )
    say(f"{report}\nsha256 {digest}  {arguments.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
