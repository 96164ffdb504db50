"""Draws what a model looks at and mixes, and what a test got wrong: python tools/visualize.py --help"""

import argparse
import sys
from pathlib import Path

from slowfast_mlp.apps.cli import add_quiet, make_parser, run_tool, show_log, written_to
from slowfast_mlp.apps.predict.inputs import find_inputs
from slowfast_mlp.apps.predict.load import load
from slowfast_mlp.apps.visualize.attribution import BASELINES
from slowfast_mlp.apps.visualize.command import visualize_predictions, visualize_videos
from slowfast_mlp.apps.visualize.explain import ONE_VIEW

EXAMPLE = """examples:
  python tools/visualize.py clip.mp4 more/ --checkpoint checkpoint_epoch_00016.pyth --out pictures
  python tools/visualize.py --predictions output/run/predictions.csv --out pictures

Exit status: 0 all was drawn, 1 a video could not be read (it is named, the rest is drawn), 2 a wrong
command."""


def main(argv: list[str]) -> int:
    """Draws all, and says what could not be read; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not arguments.videos and not arguments.predictions:
        parser.error("name videos and --checkpoint FILE, or --predictions FILE")
    if arguments.videos and not arguments.checkpoint:
        parser.error("videos need --checkpoint FILE")
    show_log(quiet=arguments.quiet)
    return run_tool(lambda: _analyse(arguments))


def _analyse(arguments: argparse.Namespace) -> int:
    failed = []
    with written_to(arguments.out, "--out"):
        if arguments.predictions:
            visualize_predictions(arguments.predictions, arguments.out, label_names=arguments.labels)
        if arguments.videos:
            failed = _videos(arguments)
    for path, reason in failed:
        sys.stderr.write(f"{path} cannot be read: {reason}\n")
    return 1 if failed else 0


def _videos(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    predictor = load(
        arguments.checkpoint,
        config_file=arguments.cfg,
        overrides=(*ONE_VIEW, *arguments.opts),
        label_names=arguments.labels,
        device=arguments.device,
    )
    records = find_inputs(arguments.videos, folders_are_videos=not predictor.is_image_model)
    return visualize_videos(
        predictor, records, arguments.out, label=arguments.label, baseline=arguments.baseline
    )


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "visualize.py",
        usage="visualize.py VIDEO ... --checkpoint FILE --out DIR\n"
        "       visualize.py --predictions FILE --out DIR",
        description="Draws what a model looks at and mixes, and what a test got wrong.",
        examples=EXAMPLE,
    )
    add = parser.add_argument
    add("videos", nargs="*", metavar="VIDEO", help="file, folder, pattern or picture")
    add("--checkpoint", metavar="FILE", help="weights, settings and names of the classes")
    add("--predictions", metavar="FILE", help="predictions.csv of a test")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the pictures")
    add("--cfg", metavar="FILE.yaml", help="config of the model, for a checkpoint that holds none")
    add("--labels", metavar="FILE", help="names of the classes, a line each")
    add("--label", metavar="NAME", help="class to look for, by name or number; default the likeliest")
    add(
        "--baseline",
        choices=tuple(BASELINES),
        default="grey",
        help="compare a clip with its mean colour (grey: what is seen) or its mean frame (still: what moves)",
    )
    add("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:1, mps")
    add_quiet(parser)
    add("--opts", nargs="*", default=[], metavar="KEY VALUE", help="settings, as DATA.DECODER decord")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
