"""Records, the lines of a list, and their storage in arrays that worker processes share."""

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch

from slowfast_mlp.data import tar_files
from slowfast_mlp.errors import UserError

CHUNK = 4096  # records that iteration converts at a time
MAX_NUMBER = 2**31 - 1  # of the numbers in a record
NUM_LOOKED_AT = 64  # records whose files are checked before a run starts


class Record(NamedTuple):
    """One line of a list.

    If `num_frames` is positive, `path` is the template of a folder of frames, such as "/data/7/{:05d}.jpg",
    numbered from `first_frame`. If it is 0, `path` is a video or image file.
    """

    path: str
    label: int
    num_frames: int = 0
    first_frame: int = 1

    @property
    def first_file(self) -> str:
        """The file itself, or the first image of the folder."""
        return self.path.format(self.first_frame) if self.num_frames else self.path

    @property
    def last_file(self) -> str:
        """The file itself, or the last image of the folder."""
        last = self.first_frame + self.num_frames - 1
        return self.path.format(last) if self.num_frames else self.path


def escape_braces(path: str) -> str:
    """Escapes a path for use in a template."""
    return path.replace("{", "{{").replace("}", "}}")


class Records(Sequence[Record]):
    """An immutable list of records, and the class names in the order of the labels (empty if unknown).

    The records are stored in a few tensors, which workers share. Python objects would be copied into every
    worker as their reference counts change.
    """

    def __init__(self, records: Iterable[Record], *, label_names: Sequence[str] = ()):
        paths, ends = bytearray(), array("q", [0])
        columns = array("q"), array("i"), array("i")
        for record in records:
            paths += _encoded(record.path)
            ends.append(len(paths))
            for name, column, value in zip(Record._fields[1:], columns, record[1:]):
                if not -MAX_NUMBER <= value <= MAX_NUMBER:
                    raise UserError(
                        f"The list gives {record.path!r} the {name.replace('_', ' ')} {value}, which is too "
                        "large to be one; mend the list."
                    )
                column.append(value)
        self._paths = torch.frombuffer(paths or bytearray(1), dtype=torch.uint8)
        self._ends = torch.tensor(ends, dtype=torch.int64)
        labels, num_frames, first_frames = columns
        self.labels = torch.tensor(labels, dtype=torch.int64)  # [N]
        self._num_frames = torch.tensor(num_frames, dtype=torch.int32)
        self._first_frames = torch.tensor(first_frames, dtype=torch.int32)
        self.label_names = tuple(label_names)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index):
        """The Record at `index`, or a list of Records for a slice."""
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        index %= len(self)
        start, end = self._ends[index : index + 2].tolist()
        path = self._paths[start:end].numpy().tobytes().decode()
        numbers = self.labels, self._num_frames, self._first_frames
        return Record(path, *(int(column[index]) for column in numbers))

    def __iter__(self) -> Iterator[Record]:
        """All records in order, ten times as fast as by index."""
        columns = self.labels, self._num_frames, self._first_frames
        for first in range(0, len(self), CHUNK):
            ends = self._ends[first : first + CHUNK + 1].tolist()
            paths = self._paths[ends[0] : ends[-1]].numpy().tobytes()
            spans = pairwise(ends)
            rows = zip(*(column[first : first + CHUNK].tolist() for column in columns))
            for (start, end), numbers in zip(spans, rows):
                yield Record(paths[start - ends[0] : end - ends[0]].decode(), *numbers)

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the sorted file names and labels, independent of folders and order.

        A folder of frames is represented by its own name.
        """
        lines = []
        for record in self:
            path = os.path.dirname(record.path) if record.num_frames else record.path
            lines.append(f"{os.path.basename(path)}\t{record.label}\n")
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _encoded(path: str) -> bytes:
    try:
        return path.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"The name of {path!r} is not in UTF-8; rename it.") from error


def check_labels(records: Records, num_classes: int, split: str) -> None:
    """Raises UserError for a label outside 0 to num_classes - 1, or a different number of class names."""
    outside = ((records.labels < 0) | (records.labels >= num_classes)).nonzero()
    if len(outside):
        record = records[int(outside[0])]
        raise UserError(
            f"The {split} list gives {record.path!r} the {wrong_label(record.label, num_classes)}. Mend the "
            f"list or the setting.{column_hint(record)}"
        )
    if wrong := wrong_names(records, num_classes):
        raise UserError(
            f"In the {split} split {wrong}. Set MODEL.NUM_CLASSES {len(records.label_names)}, or mend the "
            "file of label names."
        )


def wrong_label(label: int, num_classes: int) -> str:
    """Describes a label outside 0 to num_classes - 1; "" for a valid one."""
    if 0 <= label < num_classes:
        return ""
    return f"label {label}; MODEL.NUM_CLASSES {num_classes} allows 0 to {num_classes - 1}"


def wrong_names(records: Records, num_classes: int) -> str:
    """Describes a number of class names other than num_classes; "" if it matches or names are unknown."""
    if len(records.label_names) in (0, num_classes):
        return ""
    return f"the data set names {len(records.label_names)} classes; MODEL.NUM_CLASSES is {num_classes}"


def find_missing(records: Sequence[Record], split: str) -> tuple[list[str], int]:
    """The missing files of an evenly spaced sample of the records, and the size of the sample.

    Raises UserError if all are missing.
    """
    step = max(1, len(records) // NUM_LOOKED_AT)
    sample = records[::step]
    missing = [path for record in sample if (path := _absent_file(record))]
    if len(missing) == len(sample):
        hint = frames_hint(sample[0]) or (
            " Set DATA.PATH_PREFIX to the folder that the paths of the list start from."
            + column_hint(sample[0])
        )
        raise UserError(
            f"None of {len(sample)} videos looked for from the {split} list exists; the first is "
            f"{missing[0]}.{hint}"
        )
    return missing, len(sample)


def _absent_file(record: Record) -> str:
    """The file of a record, or the first or last image of its folder, if it is missing; else ""."""
    files = dict.fromkeys((record.first_file, record.last_file))
    return next((path for path in files if not tar_files.exists(path)), "")


def column_hint(record: Record) -> str:
    """A hint for paths that end in a number, as in lists of three columns; "" for others."""
    path, _, number = record.path.replace("\t", " ").replace(",", " ").replace(";", " ").rpartition(" ")
    if record.num_frames or not number.isdecimal() or not os.path.splitext(path)[1]:
        return ""
    return f" {record.path!r} ends in a number: for lists `path frames label` set DATA.ARGS.columns 3."


def frames_hint(record: Record) -> str:
    """A hint if the images of a folder have other names than DATA.ARGS says; "" if none or all exist."""
    if not record.num_frames or not _absent_file(record):
        return ""
    for first in (0, 1):
        other = record._replace(first_frame=first)
        if not _absent_file(other):
            names = os.path.basename(other.first_file), os.path.basename(other.last_file)
            return f" There are {names[0]} to {names[1]}: set DATA.ARGS.first_frame {first}."
    folder = os.path.dirname(record.first_file)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    if not names:
        return ""
    return (
        f" The folder has {len(names)} files, {names[0]} to {names[-1]}: set DATA.ARGS.template and "
        "DATA.ARGS.first_frame to their names, or mend the list."
    )
