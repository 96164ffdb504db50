"""Something-Something V2: the official videos, the forks' frame folders, or PySlowFast's lists of frames."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.data.annotations import VIDEO_SUFFIXES, find_file, read_json, read_label_names, read_lines
from slowfast_mlp.data.datasets.ssv1 import LABEL_NAMES, parse_frame_list
from slowfast_mlp.data.records import Record, Records, escape_braces
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

SAMPLING = "segments"
SIDES_ARE_CLASSES = True
ARE_PICTURES = False
FORMS = ("auto", "videos", "frames", "frame_csv")
OFFICIAL = "something-something-v2-"
OFFICIAL_SPLITS = {
    "train": "train",
    "val": "validation",
    "test": "validation",
}  # the test's labels are secret
FRAME_CSV_HEADER = "original_vido_id"  # sic
FRAME_CSV_FIELDS = ("original_vido_id", "video_id", "frame_id", "path", "labels")


def read_records(
    root: str,
    split: str,
    *,
    prefix: str,
    separator: str,
    form: str = "auto",
    suffix: str | None = None,
    template: str = "{:06d}.jpg",
    first_frame: int = 1,
    train_list: str = "somesomev2_rgb_train_split.txt",
    val_list: str = "somesomev2_rgb_validation_split.txt",
    test_list: str | None = None,
    label_names: str | None = None,
) -> Records:
    """Records of a split in one of three forms; the test split is the validation split.

    - videos: the official JSONs in `root`. The video of an id is `prefix`/id + `suffix`; without a suffix the
      folder is searched for VIDEO_SUFFIXES.
    - frames: as in ssv1, with `train_list`, `val_list`, `test_list`, `template` and `first_frame`.
    - frame_csv: PySlowFast's JSONs and {train,val}.csv, with a line per frame.

    auto is frames if `root` has the list, frame_csv if it has the CSV, else videos. Class names come from the
    official JSON of labels or from the file `label_names`; for frames without either, from category.txt.
    Raises UserError.
    """
    lists = {"train": train_list, "val": val_list, "test": test_list or val_list}
    form = _resolve_form(form, root, split, lists[split])
    names = _label_names(root, label_names, needed=form != "frames")
    if form == "frames":
        path = find_file(root, [lists[split]], "the folder of the lists, or their names as DATA.ARGS")
        records = parse_frame_list(path, prefix=prefix or root, template=template, first_frame=first_frame)
    else:
        path = find_file(root, _json_names(OFFICIAL_SPLITS[split]), "the folder of the official JSONs")
        labels = parse_annotations(path, names)
        if form == "videos":
            records = _videos(labels, place=prefix or root, suffix=suffix)
        else:
            records = _frame_folders(labels, root, split, prefix=prefix or root)
    return Records(records, label_names=names)


def _resolve_form(form: str, root: str, split: str, frame_list: str) -> str:
    if form not in FORMS:
        raise UserError(f"DATA.ARGS form {form!r}: ssv2 has {', '.join(FORMS)}.")
    if form != "auto":
        return form
    form = _form_in(root, split, frame_list)
    logger.info("ssv2, %s: the form is %s; DATA.ARGS form chooses another", split, form)
    return form


def _form_in(root: str, split: str, frame_list: str) -> str:
    if root and g_pathmgr.isfile(os.path.join(root, frame_list)):
        return "frames"
    for name in _csv_names(split) if root else ():
        path = os.path.join(root, name)
        if g_pathmgr.isfile(path) and next(read_lines(path), (0, ""))[1].startswith(FRAME_CSV_HEADER):
            return "frame_csv"
    return "videos"


def _json_names(part: str) -> list[str]:
    return [f"{OFFICIAL}{part}.json", f"labels/{part}.json", f"{part}.json"]


def _csv_names(split: str) -> list[str]:
    return ["test.csv", "val.csv"] if split == "test" else [f"{split}.csv"]


def _label_names(root: str, given: str | None, *, needed: bool) -> tuple[str, ...]:
    if given is not None:
        return read_label_names(os.path.join(root, given))
    names = _json_names("labels")
    if not needed and not any(g_pathmgr.isfile(os.path.join(root, name)) for name in names):
        fallback = os.path.join(root, LABEL_NAMES)  # as prepare_data.py writes it
        return read_label_names(fallback) if g_pathmgr.isfile(fallback) else ()
    path = find_file(root, names, "the folder of the official JSONs, with that of the labels")
    return read_label_ids(path)


def read_label_ids(path: str) -> tuple[str, ...]:
    """Class names in the order of their ids, from the official JSON of labels. Raises UserError."""
    ids = {
        name: int(label) if str(label).isdecimal() else -1 for name, label in read_json(path, dict).items()
    }
    if sorted(ids.values()) != list(range(len(ids))):
        raise UserError(f"{path}: its ids are not 0 to {len(ids) - 1}, each once.")
    return tuple(sorted(ids, key=ids.get))


def parse_annotations(path: str, label_names: Sequence[str]) -> dict[str, int]:
    """Labels by video id, in the order of the official JSON of a split. Raises UserError."""
    return {str(entry["id"]): label for entry, label in read_entries(path, label_names)}


def read_entries(path: str, label_names: Sequence[str]) -> list[tuple[dict[str, Any], int]]:
    """The entries of the official JSON of a split with their labels, each video once. Raises UserError."""
    number_of = {name: number for number, name in enumerate(label_names)}
    found: dict[str, tuple[dict[str, Any], int]] = {}
    repeated = []
    for number, entry in enumerate(read_json(path, list)):
        video, name = _id_and_template(entry, f"{path}, entry {number}")
        if name not in number_of:
            raise UserError(
                f"{path}, entry {number}, video {video}: the labels do not hold its template {name!r}; "
                "take all JSONs from one release."
            )
        _, label = found.setdefault(video, (entry, number_of[name]))
        if label != number_of[name]:
            raise UserError(
                f"{path}, entry {number}: video {video} is listed before as {label_names[label]!r}, and here "
                f"as {name!r}; keep one of them."
            )
        if found[video][0] is not entry:
            repeated.append(video)
    if repeated:
        logger.warning("%s lists %d videos twice, such as %s: once counts", path, len(repeated), repeated[0])
    if not found:
        raise UserError(f"{path} lists no video.")
    return list(found.values())


def _id_and_template(entry: Any, where: str) -> tuple[str, str]:
    """The id of an entry, and its template without brackets."""
    if not isinstance(entry, dict) or not {"id", "template"} <= entry.keys():
        raise UserError(f"{where}: it needs an id and a template; has the test no labels?")
    if not isinstance(entry["id"], str | int) or not isinstance(entry["template"], str):
        raise UserError(
            f"{where}: the id {entry['id']!r} or the template {entry['template']!r} is no text; fetch the "
            "file again."
        )
    return str(entry["id"]), entry["template"].replace("[", "").replace("]", "")


def _videos(labels: dict[str, int], *, place: str, suffix: str | None) -> Iterator[Record]:
    """A record for every id, whether its file exists or not."""
    if suffix is None and not g_pathmgr.isdir(place):
        raise UserError(f"There is no folder {place!r}: set DATA.PATH_PREFIX to that of the videos.")
    present = set(g_pathmgr.ls(place)) if suffix is None else set()
    suffixes = VIDEO_SUFFIXES if suffix is None else (suffix,)
    for video, label in labels.items():
        names = [f"{video}{suffix}" for suffix in suffixes]
        yield Record(os.path.join(place, next((name for name in names if name in present), names[0])), label)


def _frame_folders(labels: dict[str, int], root: str, split: str, *, prefix: str) -> Iterator[Record]:
    """A record for every id of the JSON; one without frames gets a path that cannot be read, and counts."""
    csv = find_file(root, _csv_names(split), "the folder of PySlowFast's lists")
    found: dict[str, Record] = {}
    for video, record in parse_frame_csv(csv):
        if video not in labels:
            raise UserError(
                f"{csv} has frames of video {video}, which the JSON of the split does not list; take both "
                "from one release."
            )
        if video in found:
            raise UserError(f"{csv} has frames of video {video} in two places; list them together.")
        path = os.path.join(escape_braces(prefix), record.path)
        found[video] = record._replace(path=path, label=labels[video])
    without = [video for video in labels if video not in found]
    if without:
        logger.warning("%s has no frames of %d videos, such as %s", csv, len(without), without[0])
    for video, label in labels.items():
        yield found.get(video) or Record(os.path.join(prefix, video), label)


def parse_frame_csv(path: str) -> Iterator[tuple[str, Record]]:
    """The id and record of every video of a list with one line per frame. Labels are 0, paths as in the list.

    Reads one line at a time, as the lists have 25 million. Frames must be numbered without gaps.
    """
    video, first, template, start, count = "", "", "", 0, 0
    for number, line in read_lines(path):
        fields = line.split()
        if number == 1 and line.startswith(FRAME_CSV_HEADER):
            continue
        if len(fields) != len(FRAME_CSV_FIELDS):
            raise UserError(
                f"{path}, line {number}: {line!r} has {len(fields)} fields, not {' '.join(FRAME_CSV_FIELDS)}."
            )
        if fields[0] == video:
            if fields[3] != template.format(start + count):
                raise UserError(
                    f"{path}, line {number}: frame {fields[3]!r} does not follow {count} frames from "
                    f"{first!r}; list the frames of a video one after the other."
                )
            count += 1
            continue
        if count:
            yield video, Record(template, 0, count, start)
        video, first, count = fields[0], fields[3], 1
        template, start = _template_of(first, f"{path}, line {number}")
    if not count:
        raise UserError(f"{path} is empty: it needs a line `{' '.join(FRAME_CSV_FIELDS)}` for every frame.")
    yield video, Record(template, 0, count, start)


def _template_of(frame: str, where: str) -> tuple[str, int]:
    """The template of a video's frames, and the number of this frame."""
    folder, name = os.path.split(frame)
    match = re.fullmatch(r"(.*?)(\d+)(\.\w+)", name)
    if match is None:
        raise UserError(f"{where}: the name of frame {frame!r} has no number before its ending.")
    before, digits, ending = match.groups()
    return f"{escape_braces(os.path.join(folder, before))}{{:0{len(digits)}d}}{ending}", int(digits)
