"""What the words of a command line stand for: files, folders, patterns, lists of files, and streams."""

import glob
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from slowfast_mlp.data import tar_files
from slowfast_mlp.data.records import Record, escape_braces
from slowfast_mlp.data.video_io.images import is_image
from slowfast_mlp.data.video_io.stream import Stream, is_stream
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".flv", ".3gp", ".ogv", ".gif"),
)
NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<after>\.\w+)")


def find_inputs(words: Sequence[str], *, folders_are_videos: bool = True) -> list[Record | Stream]:
    """The videos and streams that the words name, in order, each once.

    A folder of pictures that are numbered without a gap is one video (its frames) if `folders_are_videos`;
    any other stands for all videos, pictures and such folders in it, at any depth, sorted. A word that is no
    file but a pattern (`*`, `?`, `[`) stands for what matches. A file that does not exist is found out when
    it is read. Raises UserError where a folder or a pattern gives nothing.
    """
    found: list[Record | Stream] = []
    for word in words:
        if is_stream(word):
            found.append(Stream(word))
        elif os.path.isdir(word):
            inside = _scan_folder(Path(word), folders_are_videos)
            if not inside:
                raise UserError(
                    f"The folder {word} holds no video and no picture; endings of videos are "
                    f"{' '.join(VIDEO_SUFFIXES)}."
                )
            found.extend(inside)
        elif glob.has_magic(word) and not tar_files.exists(word):
            matching = sorted(glob.glob(word, recursive=True))
            if not matching:
                raise UserError(f"No file matches {word!r}.")
            found.extend(find_inputs(matching, folders_are_videos=folders_are_videos))
        else:
            found.append(Record(word, 0))
    return list(dict.fromkeys(found))


def read_list(lines: Sequence[str], *, name: str) -> list[str]:
    """The paths of a list, a line each; empty lines are passed over. Raises UserError when there is none."""
    words = [line.strip() for line in lines if line.strip()]
    if not words:
        raise UserError(f"{name} names no video: it takes a path a line.")
    return words


def display_path(source: Record | Stream) -> str:
    """What a person calls the source: the file, the stream, or the folder of the frames."""
    if isinstance(source, Stream) or not source.num_frames:
        return source.path
    return os.path.dirname(source.first_file)


def _scan_folder(folder: Path, folders_are_videos: bool) -> list[Record]:
    pictures = sorted(path.name for path in folder.iterdir() if is_image(path.name))
    frames = _as_frame_folder(folder, pictures) if folders_are_videos else None
    if frames is not None:
        logger.info("%s: a video of %d numbered frames", folder, frames.num_frames)
    found = [frames] if frames is not None else []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            found.extend(_scan_folder(path, folders_are_videos))
        elif path.suffix.lower() in VIDEO_SUFFIXES or (frames is None and is_image(path.name)):
            found.append(Record(str(path), 0))
    return found


def _as_frame_folder(folder: Path, pictures: Sequence[str]) -> Record | None:
    """The record of a folder whose pictures are numbered frames; None where each is for itself."""
    matches = [NUMBERED.fullmatch(name) for name in pictures]
    if len(matches) < 2 or not all(matches):
        return None
    if len({(match["before"], match["after"]) for match in matches}) > 1:
        return None
    numbers = sorted(int(match["number"]) for match in matches)
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        logger.warning("%s: its pictures are numbered with gaps, so each is taken for itself", folder)
        return None
    width = min(len(match["number"]) for match in matches)
    template = f"{escape_braces(matches[0]['before'])}{{:0{width}d}}{escape_braces(matches[0]['after'])}"
    if {template.format(number) for number in numbers} != set(pictures):
        return None
    return Record(f"{escape_braces(str(folder))}/{template}", 0, len(numbers), numbers[0])
