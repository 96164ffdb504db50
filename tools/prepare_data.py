"""Videos, and annotations, as our lists: tools/prepare_data.py folders|kinetics|ssv1|ssv2|imagenet ..."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from slowfast_mlp.apps.cli import add_quiet, make_parser, run_tool, say, show_log, whole_number, written_to
from slowfast_mlp.apps.prepare_data.folders import prepare_folders
from slowfast_mlp.apps.prepare_data.imagenet import LINKS, ImageShards, prepare_imagenet
from slowfast_mlp.apps.prepare_data.kinetics import prepare_kinetics
from slowfast_mlp.apps.prepare_data.lists import PrepareResult
from slowfast_mlp.apps.prepare_data.something_something import (
    TEMPLATES,
    FrameFolders,
    prepare_ssv1,
    prepare_ssv2,
    prepare_ssv2_frames,
)
from slowfast_mlp.apps.prepare_data.transcode import Encoding, TranscodeOptions
from slowfast_mlp.apps.worker_pool import default_num_processes
from slowfast_mlp.errors import UserError

EPILOG = """
docs/datasets.md shows the folders that go in and come out. An interrupted run goes on where it was. Exit
status: 0 all is listed, 1 something was left out (missing.txt says what and why), 2 nothing could be done."""
# Of the flags that belong to --reencode.
ENCODING_DEFAULTS = {"short_side": 320, "gop": 12, "crf": 23, "fast_decode": False}
EXAMPLES = {
    "folders": """
  python tools/prepare_data.py folders --videos my_videos --out lists""",
    "kinetics": """
  python tools/prepare_data.py kinetics --annotations train.csv validate.csv --videos /data/k400 \\
      --out /data/k400_short --reencode""",
    "ssv1": """
  python tools/prepare_data.py ssv1 --annotations /data/ssv1/labels \\
      --frames /data/ssv1/20bn-something-something-v1 --out /data/ssv1/lists""",
    "ssv2": """
  python tools/prepare_data.py ssv2 --annotations /data/ssv2/labels --videos /data/ssv2/videos \\
      --out /data/ssv2/lists""",
    "imagenet": """
  python tools/prepare_data.py imagenet --val /data/ILSVRC2012_img_val --labels LOC_val_solution.csv \\
      --train /data/imagenet/train --out /data/imagenet_1k""",
}


def main(argv: list[str]) -> int:
    """Prepares one data set and says what was written; returns the exit status."""
    arguments = _parse(argv)
    show_log(quiet=arguments.quiet)
    after_ctrl_c = "interrupted: the same command goes on where it was"
    return run_tool(lambda: _prepare(arguments), after_ctrl_c=after_ctrl_c)


def _prepare(arguments: argparse.Namespace) -> int:
    with written_to(arguments.out, "--out"):
        arguments.out.mkdir(parents=True, exist_ok=True)
        prepared: PrepareResult = arguments.prepare(arguments)
    if arguments.json:
        settings = {key: str(value) for key, value in prepared.settings.items()}
        say(json.dumps({"said": prepared.messages, "left_out": prepared.left_out, "settings": settings}))
    else:
        settings = shlex.join(str(word) for pair in prepared.settings.items() for word in pair)
        say("\n".join([*prepared.messages, f"settings: {settings}"]))
    return 1 if prepared.left_out else 0


def _folders(arguments: argparse.Namespace) -> PrepareResult:
    return prepare_folders(
        videos=arguments.videos,
        out=arguments.out,
        val_share=arguments.val_share,
        transcode_options=_transcode_options(arguments),
    )


def _kinetics(arguments: argparse.Namespace) -> PrepareResult:
    return prepare_kinetics(
        annotations=arguments.annotations,
        videos=arguments.videos,
        out=arguments.out,
        label_order=arguments.label_order,
        transcode_options=_transcode_options(arguments),
    )


def _ssv1(arguments: argparse.Namespace) -> PrepareResult:
    return prepare_ssv1(annotations=arguments.annotations, frames=_frames(arguments), out=arguments.out)


def _ssv2(arguments: argparse.Namespace) -> PrepareResult:
    transcode_options = _transcode_options(arguments)
    if not arguments.frames:
        return prepare_ssv2(
            annotations=arguments.annotations,
            videos=arguments.videos,
            out=arguments.out,
            transcode_options=transcode_options,
        )
    if transcode_options.encoding:
        raise UserError("--reencode is for --videos; frames stay as they are.")
    return prepare_ssv2_frames(
        annotations=arguments.annotations, frames=_frames(arguments), out=arguments.out
    )


def _imagenet(arguments: argparse.Namespace) -> PrepareResult:
    return prepare_imagenet(
        val=arguments.val,
        labels=arguments.labels,
        synsets=arguments.synsets,
        train=arguments.train,
        out=arguments.out,
        link=arguments.link,
        shards=ImageShards(
            num_per_shard=arguments.shards, num_processes=arguments.jobs, timeout_sec=arguments.timeout
        )
        if arguments.shards
        else None,
    )


def _frames(arguments: argparse.Namespace) -> FrameFolders:
    return FrameFolders(
        folder=arguments.frames,
        template=arguments.image_template,
        first_frame=arguments.first_frame,
        folders_per_shard=arguments.shards,
        num_processes=arguments.jobs,
        timeout_sec=arguments.timeout,
    )


def _transcode_options(arguments: argparse.Namespace) -> TranscodeOptions:
    encoding_args = {
        name: value for name in ENCODING_DEFAULTS if (value := getattr(arguments, name)) is not None
    }
    if encoding_args and not arguments.reencode:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in encoding_args)
        raise UserError(f"{flags} says how --reencode re-encodes videos: add --reencode, or leave it out.")
    return TranscodeOptions(
        encoding=Encoding(**{**ENCODING_DEFAULTS, **encoding_args}) if arguments.reencode else None,
        videos_per_shard=arguments.shards,
        num_processes=arguments.jobs,
        timeout_sec=arguments.timeout,
    )


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = make_parser(
        "prepare_data.py",
        description="Writes the lists that run_net.py reads, from class folders or official annotations.",
        examples=f"examples:{''.join(EXAMPLES.values())}\n{EPILOG}",
    )
    subparsers = parser.add_subparsers(required=True, metavar="folders|kinetics|ssv1|ssv2|imagenet")
    for name, (help_text, prepare, add_flags) in DATASETS.items():
        epilog = f"example:{EXAMPLES[name]}\n{EPILOG}"
        subparser = subparsers.add_parser(
            name,
            help=help_text,
            description=help_text,
            epilog=epilog,
            formatter_class=parser.formatter_class,
            allow_abbrev=False,
        )
        subparser.set_defaults(prepare=prepare)
        add_flags(subparser)
        subparser.add_argument("--out", type=Path, required=True, help="folder to write into")
        subparser.add_argument(
            "--jobs", type=whole_number(1), default=default_num_processes(), help="processes"
        )
        subparser.add_argument(
            "--timeout", type=whole_number(1), default=600, help="seconds until a file is given up (600)"
        )
        subparser.add_argument("--json", action="store_true", help="what was written as a line of JSON")
        add_quiet(subparser)
    return parser.parse_args(argv)


def _folders_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--videos", type=Path, required=True, help="folder with one for each class, or with train and val"
    )
    parser.add_argument(
        "--val-share", type=_fraction, default=0.1, metavar="S", help="of a class that goes to val (0.1)"
    )
    _add_transcode_flags(parser)
    _add_shards(parser, "videos")


def _kinetics_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", type=Path, nargs="+", required=True, help="official csv files")
    parser.add_argument(
        "--videos", type=Path, required=True, help="folder of the videos, in class folders or not"
    )
    parser.add_argument("--label-order", type=Path, help="file with name<TAB>id lines; else alphabetical ids")
    _add_transcode_flags(parser)
    _add_shards(parser, "videos")


def _ssv1_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", type=Path, required=True, help="folder of the official csv files")
    parser.add_argument("--frames", type=Path, required=True, help="folder of the frame folders")
    _add_frame_names(parser, TEMPLATES[1])
    _add_shards(parser, "folders of frames")


def _ssv2_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", type=Path, required=True, help="folder of the official JSONs")
    files = parser.add_mutually_exclusive_group(required=True)
    files.add_argument("--videos", type=Path, help="folder of the .webm or .mp4 videos")
    files.add_argument("--frames", type=Path, help="folder of the folders of extracted frames")
    _add_frame_names(parser, TEMPLATES[2])
    _add_transcode_flags(parser)
    _add_shards(parser, "videos, or folders of frames,")


def _imagenet_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--val", type=Path, required=True, help="folder of all validation pictures")
    parser.add_argument(
        "--labels", type=Path, required=True, help="LOC_val_solution.csv, or the ground truth"
    )
    parser.add_argument("--synsets", type=Path, help="classes in the order of the ground truth's numbers")
    parser.add_argument(
        "--train", type=Path, help="folder of the training class folders, to link next to val"
    )
    parser.add_argument("--link", choices=LINKS, default=LINKS[0], help="kind of the links (hard)")
    _add_shards(parser, "pictures")


def _add_frame_names(parser: argparse.ArgumentParser, template: str) -> None:
    parser.add_argument("--image-template", default=template, help=f"names of the frames ({template})")
    parser.add_argument("--first-frame", type=int, default=1, help="number of the first frame (1)")


def _add_transcode_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reencode", action="store_true", help="re-encode the videos into OUT/videos")
    parser.add_argument("--short-side", type=whole_number(1), help="most that the short side has (320)")
    parser.add_argument("--gop", type=whole_number(1), help="frames from keyframe to keyframe (12)")
    parser.add_argument("--crf", type=int, choices=range(52), metavar="0-51", help="quality (23)")
    parser.add_argument(
        "--fast-decode",
        action="store_true",
        default=None,
        help="x264's tune fastdecode: larger, quicker to read",
    )


def _add_shards(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--shards", type=whole_number(1), default=0, metavar="N", help=f"put N {what} each into tar files"
    )


def _fraction(text: str) -> float:
    fraction = float(text)
    if not 0 < fraction < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return fraction


# name -> what goes in, the function, the flags of its own
DATASETS = {
    "folders": ("your own videos: a folder for each class", _folders, _folders_flags),
    "kinetics": ("Kinetics-400, -600, -700: official csv files and videos", _kinetics, _kinetics_flags),
    "ssv1": ("Something-Something V1: official csv files and frame folders", _ssv1, _ssv1_flags),
    "ssv2": ("Something-Something V2: official JSONs, and videos or frame folders", _ssv2, _ssv2_flags),
    "imagenet": ("ImageNet-1K: links the validation pictures into class folders", _imagenet, _imagenet_flags),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
