"""Matches the classes of a checkpoint and a data set by name, not by number."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from slowfast_mlp.errors import UserError

NUM_NAMES_SHOWN = 3

logger = logging.getLogger(__name__)


def class_order(trained: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """For every class of `wanted` the output index of a model trained on `trained`, [K] (int64)."""
    output_of = {name: output for output, name in enumerate(trained)}
    return torch.tensor([output_of[name] for name in wanted])


def match_classes(trained: Sequence[str], wanted: Sequence[str], *, source: str) -> Tensor | None:
    """`class_order`, or None if the order is equal or either has no names, which is logged.

    Raises UserError if the names differ.
    """
    if not trained or not wanted:
        who = "the checkpoint and the data set do" if not (trained or wanted) else "the data set does"
        who = "the checkpoint does" if wanted else who
        logger.info("%s: %s not name the classes, so their order is taken as it is", source, who)
        return None
    if set(trained) != set(wanted):
        raise UserError(
            f"{source} was trained on other classes: {differing_names(trained, wanted)}. Use its data set or "
            "its file of label names; or, to start from its weights, TRAIN.CHECKPOINT_FILE_PATH and another "
            "OUTPUT_DIR."
        )
    if list(trained) == list(wanted):
        return None
    moved = sum(one != other for one, other in zip(trained, wanted))
    logger.warning(
        f"{source} has {moved} of {len(wanted)} classes at other places than the data set; a test matches "
        "its scores by name"
    )
    return class_order(trained, wanted)


def differing_names(trained: Sequence[str], wanted: Sequence[str]) -> str:
    """The names that only one of the two has, as text."""
    sides = []
    for who, own, other in (("it alone", trained, wanted), ("the data set alone", wanted, trained)):
        names = [name for name in own if name not in set(other)]
        shown = ", ".join(map(repr, names[:NUM_NAMES_SHOWN])) + (", ..." if names[NUM_NAMES_SHOWN:] else "")
        sides.append(f"{who} has {shown or 'none'}")
    return "; ".join(sides)
