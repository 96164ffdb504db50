"""What becomes of the classes when a clip is mirrored."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

# Seen in a mirror; what goes up still goes up.
SWAPPED = {
    "left": "right",
    "right": "left",
    "clockwise": "anticlockwise",
    "anticlockwise": "clockwise",
}
WORDS = re.compile(rf"\b({'|'.join(SWAPPED)})\b")


def flip_labels(label_names: Sequence[str]) -> Tensor:
    """For every class the one that its mirror image belongs to: a permutation [K] (int64), its own inverse.

    Classes whose names have no sides stay. Raises ValueError for a class whose mirror image has no class, and
    for names with sides that are the same but for capitals.
    """
    plain = [name.lower().replace("counterclockwise", "anticlockwise") for name in label_names]
    number_of = {name: number for number, name in enumerate(plain)}
    partners = []
    for number, name in enumerate(plain):
        mirrored = WORDS.sub(lambda match: SWAPPED[match[0]], name)
        if mirrored == name:
            partners.append(number)
        elif mirrored not in number_of:
            raise ValueError(f"{label_names[number]!r} has no class for its mirror image {mirrored!r}")
        elif number_of[name] != number:
            other = label_names[number_of[name]]
            raise ValueError(f"{label_names[number]!r} and {other!r} are one name with one mirror image")
        else:
            partners.append(number_of[mirrored])
    return torch.tensor(partners)
