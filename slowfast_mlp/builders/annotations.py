"""DATA -> the records of a split."""

import logging
from types import ModuleType

from slowfast_mlp.builders.arguments import check_arguments
from slowfast_mlp.config import schema
from slowfast_mlp.data import datasets
from slowfast_mlp.data.records import Records, check_labels, find_missing
from slowfast_mlp.data.skip_list import kept_positions, read_skip_list
from slowfast_mlp.errors import UserError
from slowfast_mlp.registry import find_module

logger = logging.getLogger(__name__)

NUM_EXAMPLES = 3  # paths of the skip list that are in no list, named in a warning


def records(data: schema.Data, dataset: str, split: str, *, num_classes: int) -> Records:
    """The records of a split, after checks of labels and of a sample of the files. Raises UserError."""
    found = listed(data, dataset, split)
    check_labels(found, num_classes, split)
    found = without_skipped(data, found, split)
    missing, num_looked_at = find_missing(found, split)
    if missing:
        logger.warning(
            "%d of %d videos looked for from the %s list do not exist, such as %s",
            len(missing),
            num_looked_at,
            split,
            missing[0],
        )
    return found


def listed(data: schema.Data, dataset: str, split: str) -> Records:
    """The records of a split as listed, without checks of labels and files."""
    module = dataset_module(dataset)
    shared = {"root", "split", "prefix", "separator"}
    check_arguments(module.read_records, data.args, shared, f"DATA.ARGS of {dataset}")
    return module.read_records(
        data.path_to_data_dir,
        split,
        prefix=data.path_prefix,
        separator=data.path_label_separator,
        **data.args,
    )


def without_skipped(data: schema.Data, found: Records, split: str) -> Records:
    """The records without those in DATA.SKIP_LIST; evaluation keeps all records."""
    if not data.skip_list:
        return found
    skipped = read_skip_list(data.skip_list)
    prefix = data.path_prefix or data.path_to_data_dir
    kept, used = kept_positions(found, skipped, prefix=prefix)
    num_listed = len(found) - len(kept)
    if split != "train":
        if num_listed:
            logger.warning(
                "%d videos of DATA.SKIP_LIST are in the %s list, and stay: evaluation counts every video",
                num_listed,
                split,
            )
        return found
    if not kept:
        raise UserError(
            f"DATA.SKIP_LIST {data.skip_list!r} leaves out all {len(found)} videos of the train list; "
            "shorten it."
        )
    logger.info("DATA.SKIP_LIST leaves out %d of %d videos of the train list", num_listed, len(found))
    if others := sorted(skipped - used):
        logger.warning(
            "%d of the %d paths of %s are not in the train list, such as %s",
            len(others),
            len(skipped),
            data.skip_list,
            ", ".join(others[:NUM_EXAMPLES]),
        )
    return Records((found[position] for position in kept), label_names=found.label_names)


def sampling(data: schema.Data, dataset: str) -> str:
    """The sampling of frames, dense or segments: DATA.SAMPLING, or the default of the dataset."""
    return dataset_module(dataset).SAMPLING if data.sampling == "auto" else data.sampling


def dataset_module(dataset: str) -> ModuleType:
    """The module of a dataset, by name. Raises UserError."""
    return find_module(datasets, dataset, "TRAIN.DATASET or TEST.DATASET")
