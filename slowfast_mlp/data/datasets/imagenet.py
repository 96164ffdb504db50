"""ImageNet, and any images in one folder per class. An image is a video of one frame."""

import os
from collections.abc import Iterator

from iopath.common.file_io import g_pathmgr

from slowfast_mlp.data import tar_files
from slowfast_mlp.data.records import Record, Records
from slowfast_mlp.data.video_io.decode_error import reason_of
from slowfast_mlp.data.video_io.images import SUFFIXES, image_names
from slowfast_mlp.errors import UserError

SAMPLING = "dense"
SIDES_ARE_CLASSES = False
ARE_PICTURES = True


def read_records(root: str, split: str, *, prefix: str, separator: str) -> Records:
    """Records of `root`/{train,val,test}/<class>/<image>; without a test folder the test split is val.

    If a split has tars (`root`/train/*.tar) and no folders, the class folders are read from the tars. The
    classes are the sorted folders of `root`/train, or of the split itself without it. If some are WordNet ids
    (n and digits), others are ignored. `prefix` and `separator` are for lists; a prefix is refused. Raises
    UserError.
    """
    if prefix:
        raise UserError(
            f"DATA.PATH_PREFIX {prefix!r} is for the paths of lists; imagenet has none: leave it empty, and "
            "set DATA.PATH_TO_DATA_DIR to the folder that holds train and val."
        )
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
    classes = class_names(train if g_pathmgr.isdir(train) else place)
    unknown = sorted(set(class_names(place)) - set(classes))
    if unknown:
        raise UserError(
            f"{place} has folders that are no classes of {train}, such as {unknown[0]!r}: move the pictures "
            "into the folders of their classes."
        )
    records = _list_folders(place, classes) if _folders_in(place) else _list_tars(place, classes)
    return Records(records, label_names=classes)


def class_names(place: str) -> list[str]:
    """The sorted class names: the folders of `place`, or else of the tars in it."""
    names = _folders_in(place) or sorted({name for name, _, _ in _members_in(place)})
    of_wordnet = [name for name in names if name[0] == "n" and name[1:].isdecimal()]
    if not names:
        raise UserError(f"{place} has no folders: sort the pictures into a folder for every class.")
    return of_wordnet or names


def _folders_in(place: str) -> list[str]:
    names = sorted(name for name in g_pathmgr.ls(place) if g_pathmgr.isdir(os.path.join(place, name)))
    return [name for name in names if not name.startswith(".")]


def _members_in(place: str) -> Iterator[tuple[str, str, str]]:
    """The class, name and path of every image in the tars of a folder."""
    for tar in sorted(name for name in g_pathmgr.ls(place) if name.endswith(".tar") and name[0] != "."):
        path = os.path.join(place, tar)
        try:
            members = tar_files.member_names(path)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({reason_of(error)}); write it again.") from error
        for member in members:
            label, _, name = member.partition("/")
            if not image_names([name]):
                continue
            if "/" in name:
                raise UserError(f"{path} has the picture {member!r}: in a tar they are called class/picture.")
            yield label, name, os.path.join(path, member)


def _list_tars(place: str, classes: list[str]) -> Iterator[Record]:
    """A record for every image in the tars, in the order of _list_folders."""
    label_of = {name: label for label, name in enumerate(classes)}
    found = sorted(member for member in _members_in(place) if member[0] in label_of)
    yield from (Record(path, label_of[label]) for label, _, path in found)


def _list_folders(place: str, classes: list[str]) -> Iterator[Record]:
    """A record for every image, by class and name."""
    present = set(g_pathmgr.ls(place))
    for label, name in enumerate(classes):
        if name not in present:
            continue  # a split may lack a class; labels do not change
        folder = os.path.join(place, name)
        images = image_names(g_pathmgr.ls(folder))
        if not images:
            raise UserError(
                f"{folder} holds no picture ({', '.join(SUFFIXES)}): add some, or remove the folder from all "
                "splits."
            )
        yield from (Record(os.path.join(folder, image), label) for image in images)
