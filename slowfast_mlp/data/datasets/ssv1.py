"""Something-Something V1 as folders of frames, with the lists of PySlowFast's forks."""

import os
from collections.abc import Iterator

from slowfast_mlp.data.annotations import find_file, is_whole_number, read_lines
from slowfast_mlp.data.datasets.kinetics import names_of_classes
from slowfast_mlp.data.records import Record, Records, escape_braces
from slowfast_mlp.errors import UserError

SAMPLING = "segments"
SIDES_ARE_CLASSES = True
ARE_PICTURES = False
LABEL_NAMES = "category.txt"


def read_records(
    root: str,
    split: str,
    *,
    prefix: str,
    separator: str,
    template: str = "{:05d}.jpg",
    first_frame: int = 1,
    train_list: str = "somesomev1_rgb_train_split.txt",
    val_list: str = "somesomev1_rgb_validation_split.txt",
    test_list: str | None = None,
    label_names: str | None = None,
) -> Records:
    """Records of the lists in `root`, with `folder frames label` on every line.

    Frame i of a video is `prefix`/folder/template.format(first_frame + i); `prefix` defaults to `root`.
    Fields are separated by blanks; `separator` is ignored. Without a `test_list` the test split is the
    validation list. `label_names` is a file for `read_label_names`, relative to `root`; by default
    category.txt, if it exists. Raises UserError.
    """
    lists = {"train": train_list, "val": val_list, "test": test_list or val_list}
    path = find_file(root, [lists[split]], "the folder of the lists, or their names as DATA.ARGS")
    records = parse_frame_list(path, prefix=prefix or root, template=template, first_frame=first_frame)
    return Records(records, label_names=names_of_classes(root, label_names, LABEL_NAMES))


def parse_frame_list(path: str, *, prefix: str, template: str, first_frame: int) -> Iterator[Record]:
    """Records of one list of frame folders; blank lines are skipped."""
    check_template(template)
    if first_frame < 0:
        raise UserError(
            f"DATA.ARGS first_frame {first_frame}: the first picture has the number 0, 1 or more."
        )
    number = 0
    for number, line in read_lines(path):
        fields = line.rsplit(None, 2)
        if len(fields) != 3 or not all(map(is_whole_number, fields[1:])):
            raise UserError(
                f"{path}, line {number}: {line!r} is no `folder frames label` with blanks between the three."
            )
        folder, num_frames, label = fields[0], int(fields[1]), int(fields[2])
        if num_frames < 1:
            raise UserError(
                f"{path}, line {number}: {folder!r} has {num_frames} frames; extract them, or leave the "
                "line out."
            )
        yield Record(frame_template(prefix, folder, template), label, num_frames, first_frame)
    if number == 0:
        raise UserError(f"{path} is empty: it needs a line `folder frames label` for every video.")


def frame_template(prefix: str, folder: str, template: str) -> str:
    """The template of a folder's frames for `str.format`, with braces in folder names escaped."""
    return os.path.join(escape_braces(os.path.join(prefix, folder)), template)


def check_template(template: str) -> None:
    """Raises UserError unless the template gives every frame a different name."""
    try:
        names = template.format(1), template.format(2)
    except (ValueError, IndexError, KeyError):
        names = ("", "")
    if names[0] == names[1]:
        raise UserError(
            f"DATA.ARGS template {template!r} does not number pictures: write it like '{{:05d}}.jpg' for "
            "00001.jpg, or 'img_{:05d}.jpg'."
        )
