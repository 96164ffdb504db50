"""ImageNet, and any pictures in a folder a class: a picture is a video of one frame."""

import os
from collections.abc import Iterator

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.data.pictures import SUFFIXES, is_picture
from slowfast_mlp.data.records import Record, Records
from slowfast_mlp.errors import UserError

SAMPLING = "dense"
SIDES_ARE_CLASSES = False


def read_records(root: str, split: str, *, prefix: str, separator: str) -> Records:
    """Records of `root`/{train,val,test}/<class>/<picture>; without a test folder the test split is val.

    The classes are the folders of `root`/train, or those of the split where there is no train, sorted; once
    some of them are WordNet's (n and digits), only those. `prefix` and `separator` belong to lists and are
    not used here. Raises UserError.
    """
    if not root:
        raise UserError("DATA.PATH_TO_DATA_DIR is not set: give the folder that holds train and val.")
    names = ["test", "val"] if split == "test" else [split]
    place = next((path for name in names if g_pathmgr.isdir(path := os.path.join(root, name))), None)
    if place is None:
        raise UserError(
            f"DATA.PATH_TO_DATA_DIR {root!r} has no folder {' and none '.join(names)}: give the folder that "
            "holds train and val."
        )
    train = os.path.join(root, "train")
    classes = class_folders(train if g_pathmgr.isdir(train) else place)
    unknown = sorted(set(class_folders(place)) - set(classes))
    if unknown:
        raise UserError(
            f"{place} has folders that are no classes of {train}, such as {unknown[0]!r}: move the pictures "
            "into the folders of their classes."
        )
    return Records(list_pictures(place, classes), label_names=classes)


def class_folders(place: str) -> list[str]:
    """The names of the classes, sorted: a class a folder."""
    names = sorted(name for name in g_pathmgr.ls(place) if g_pathmgr.isdir(os.path.join(place, name)))
    names = [name for name in names if not name.startswith(".")]
    of_wordnet = [name for name in names if name[0] == "n" and name[1:].isdecimal()]
    if not names:
        raise UserError(f"{place} has no folders: sort the pictures into a folder for every class.")
    return of_wordnet or names


def list_pictures(place: str, classes: list[str]) -> Iterator[Record]:
    """A record for every picture, class by class in the order of the names."""
    present = set(g_pathmgr.ls(place))
    for label, name in enumerate(classes):
        if name not in present:
            continue  # a split may lack a class; its label stays
        folder = os.path.join(place, name)
        pictures = sorted(file for file in g_pathmgr.ls(folder) if is_picture(file))
        if not pictures:
            raise UserError(
                f"{folder} holds no picture ({', '.join(SUFFIXES)}): add some, or remove the folder from all "
                "splits."
            )
        yield from (Record(os.path.join(folder, picture), label) for picture in pictures)
