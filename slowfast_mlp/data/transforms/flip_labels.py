"""Labels of mirrored clips."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

# Words that a horizontal flip exchanges.
SWAPPED = {
    "left": "right",
    "right": "left",
    "clockwise": "anticlockwise",
    "anticlockwise": "clockwise",
}
WORDS = re.compile(rf"\b({'|'.join(SWAPPED)})\b")


def flip_labels(label_names: Sequence[str]) -> Tensor:
    """The class of the mirror image of every class: a permutation [K] (int64) that is its own inverse.

    Classes whose names have no direction map to themselves. Raises ValueError for a class whose mirror image
    has no class, and for names with a direction that differ in case only.
    """
    plain = [name.lower().replace("counterclockwise", "anticlockwise") for name in label_names]
    label_of = {name: label for label, name in enumerate(plain)}
    partners = list(range(len(plain)))
    for label, name in enumerate(plain):
        mirrored = WORDS.sub(lambda match: SWAPPED[match[0]], name)
        if mirrored == name:
            continue
        if mirrored not in label_of:
            raise ValueError(f"{label_names[label]!r} has no class for its mirror image {mirrored!r}")
        if label_of[name] != label:
            other = label_names[label_of[name]]
            raise ValueError(f"{label_names[label]!r} and {other!r} are one name with one mirror image")
        partners[label] = label_of[mirrored]
    return torch.tensor(partners)
