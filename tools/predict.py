"""Names what videos show: python tools/predict.py VIDEO ... --checkpoint FILE"""

import argparse
import math
import sys
from pathlib import Path

from slowfast_mlp.apps.cli import add_quiet, has_colours, make_parser, run_tool, say, show_log, whole_number
from slowfast_mlp.apps.predict.command import Command, FailedVideo, PredictOptions
from slowfast_mlp.apps.predict.inputs import find_inputs, read_list
from slowfast_mlp.apps.predict.load import load
from slowfast_mlp.errors import UserError

EXAMPLE = """examples:
  python tools/predict.py clip.mp4 holiday/ 'more/*.mkv' --checkpoint checkpoint_epoch_00016.pyth
  python tools/predict.py match.mp4 --checkpoint FILE --stride-sec 1 --timeline t.png --write-video named.mp4
  python tools/predict.py /dev/video0 --checkpoint FILE --max-sec 60 --json

A folder of pictures numbered without a gap is a video of these frames. Streams are what FFmpeg opens: URLs
(rtsp://, http://), named pipes, cameras (/dev/video0, avfoundation:0, dshow:video=NAME). Exit status: 0 all
was predicted, 1 something could not be read (it is named, the rest is predicted), 2 a wrong command."""


def main(argv: list[str]) -> int:
    """Predicts all and prints what was found; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    _check(parser, arguments)
    show_log(quiet=arguments.quiet or arguments.json)
    return run_tool(lambda: _predict(arguments))


def _predict(arguments: argparse.Namespace) -> int:
    predictor = load(
        arguments.checkpoint,
        config_file=arguments.cfg,
        overrides=arguments.opts,
        label_names=arguments.labels,
        device=arguments.device,
    )
    sources = find_inputs(_expand_inputs(arguments), folders_are_videos=not predictor.is_image_model)
    command = Command(
        predictor,
        _output_options(arguments),
        print_line=say,
        is_terminal=sys.stdout.isatty(),
        use_color=has_colours(),
        show_progress=not arguments.quiet,
    )
    failed = command.run(sources)
    sys.stderr.write(_summary(failed, len(sources)))
    return 1 if failed else 0


def _expand_inputs(arguments: argparse.Namespace) -> list[str]:
    inputs = []
    for word in [*arguments.videos, *(["-"] if arguments.list == "-" else [])]:
        inputs += read_list(sys.stdin.readlines(), name="standard input") if word == "-" else [word]
    if arguments.list not in (None, "-"):
        try:
            lines = Path(arguments.list).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise UserError(f"--list {arguments.list} cannot be read ({reason}).") from error
        inputs += read_list(lines, name=arguments.list)
    return inputs


def _summary(failed: list[FailedVideo], num_sources: int) -> str:
    if not failed:
        return ""
    lines = [f"  {path}: {reason}" for path, reason in failed]
    num_failed = len({path for path, _ in failed})
    return f"{num_failed} of {num_sources} could not be read, or not all of it:\n" + "\n".join(lines) + "\n"


def _output_options(arguments: argparse.Namespace) -> PredictOptions:
    slides = (arguments.stride_sec, arguments.window_sec, arguments.max_sec, arguments.timeline)
    return PredictOptions(
        top_k=arguments.top_k,
        json=arguments.json,
        sliding=any(value is not None for value in (*slides, arguments.segments)),
        stride_sec=arguments.stride_sec,
        window_sec=arguments.window_sec,
        max_sec=arguments.max_sec,
        video=arguments.write_video,
        timeline=arguments.timeline,
        segments=arguments.segments,
    )


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if not arguments.videos and not arguments.list:
        parser.error("name a video, a folder, a pattern or a stream; or --list FILE")
    for name in ("stride_sec", "window_sec", "max_sec"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < math.inf:
            parser.error(f"--{name.replace('_', '-')} takes more than 0 seconds, and not endlessly many")


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "predict.py",
        usage="predict.py VIDEO ... --checkpoint FILE [flags] [--opts KEY VALUE ...]",
        description="Predicts the classes of videos, or of a window that slides over long ones and streams.",
        examples=EXAMPLE,
    )
    add = parser.add_argument
    add("videos", nargs="*", metavar="VIDEO", help="file, folder, pattern, picture, stream; - reads a list")
    add("--checkpoint", required=True, metavar="FILE", help="weights, settings and names of the classes")
    add("--cfg", metavar="FILE.yaml", help="config of the model, for a checkpoint that holds none")
    add("--labels", metavar="FILE", help="names of the classes, a line each, instead of the checkpoint's")
    add("--list", metavar="FILE", help="file of paths, a line each; - is standard input")
    add("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:1, mps")
    add("--top-k", type=whole_number(1), default=5, metavar="N", help="classes to show (5)")
    add("--json", action="store_true", help="a line of JSON for every video or window")
    add_quiet(parser)
    add("--stride-sec", type=float, metavar="S", help="slide a window, S seconds on each time")
    add("--window-sec", type=float, metavar="S", help="length of the window; default that of a training clip")
    add("--max-sec", type=float, metavar="S", help="slide, and stop S seconds after the first frame")
    add("--timeline", type=Path, metavar="OUT.png", help="slide, and draw the classes over time")
    add("--segments", type=Path, metavar="OUT.json", help="slide, and write when which class is the best")
    add("--write-video", type=Path, metavar="OUT.mp4", help="write the video with names drawn on the frames")
    add("--opts", nargs="*", default=[], metavar="KEY VALUE", help="settings, as TEST.NUM_ENSEMBLE_VIEWS 1")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
