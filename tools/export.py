"""Writes a model as a file for deployment: python tools/export.py CHECKPOINT OUT.onnx"""

import argparse
import json
import logging
import sys
from dataclasses import asdict

from slowfast_mlp.apps.cli import add_quiet, make_parser, run_tool, say, show_log, whole_number
from slowfast_mlp.apps.export import Exported, export
from slowfast_mlp.apps.predict.load import load

EXAMPLE = """examples:
  python tools/export.py checkpoint_epoch_00016.pyth model.onnx
  python tools/export.py checkpoint_epoch_00016.pyth model.pt2 --rounds 0 --json

The file takes pixels (uint8 [batch, 3, time, height, width], 0 to 255, any batch) and gives logits; it holds
the names of the classes and the form of a clip. ONNX needs pip install onnx onnxscript onnxruntime.
Exit status: 0 written, 2 not."""


def main(argv: list[str]) -> int:
    """Exports, and says how the file compares; returns the exit status."""
    arguments = _parser().parse_args(argv)
    show_log(quiet=True)  # the exporters of ONNX have much to say
    if not (arguments.quiet or arguments.json):
        logging.getLogger("slowfast_mlp").setLevel(logging.INFO)
    return run_tool(lambda: _export(arguments))


def _export(arguments: argparse.Namespace) -> int:
    predictor = load(arguments.checkpoint, config_file=arguments.cfg, overrides=arguments.opts, device="cpu")
    exported = export(
        predictor,
        arguments.out,
        max_difference=arguments.max_difference,
        batch_size=arguments.batch,
        num_rounds=arguments.rounds,
        compiled=not arguments.no_compile,
    )
    say(json.dumps(asdict(exported)) if arguments.json else _describe(exported, arguments))
    return 0


def _describe(exported: Exported, arguments: argparse.Namespace) -> str:
    lines = [
        f"{exported.path}: {exported.num_bytes / 2**20:.1f} MiB, logits within {exported.max_difference:.2g} "
        "of the model's"
    ]
    for name, ms in exported.latency_ms.items():
        spread = f"{ms.p25:.1f} to {ms.p75:.1f}{', noisy' if ms.is_noisy else ''}"
        lines.append(f"  {name:<14} {ms.median:8.1f} ms a batch of {arguments.batch}  ({spread})")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "export.py",
        usage="export.py CHECKPOINT OUT [flags] [--opts KEY VALUE ...]",
        description="Writes a model as ONNX or as a program of torch.export, and compares the file with it.",
        examples=EXAMPLE,
    )
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="weights, settings and names of the classes")
    add("out", metavar="OUT", help="the file; .onnx or .pt2 tells the format")
    add("--cfg", metavar="FILE.yaml", help="config of the model, for a checkpoint that holds none")
    add("--max-difference", type=float, default=1e-4, metavar="D", help="of a logit, else refused (1e-4)")
    add("--batch", type=whole_number(1), default=1, metavar="N", help="clips of a batch that is timed (1)")
    add("--rounds", type=whole_number(0), default=5, metavar="N", help="of timing; 0 leaves it out (5)")
    add("--no-compile", action="store_true", help="leave torch.compile out of it, which takes a minute")
    add("--json", action="store_true", help="a line of JSON")
    add_quiet(parser)
    add("--opts", nargs="*", default=[], metavar="KEY VALUE", help="settings that go over the checkpoint's")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
