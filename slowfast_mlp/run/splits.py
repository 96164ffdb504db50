"""Which lists a run reads."""

from slowfast_mlp.builders import annotations
from slowfast_mlp.config.schema import Config
from slowfast_mlp.errors import UserError


def splits_to_read(config: Config) -> dict[str, str]:
    """The splits that the run will need, with the data set of each. Raises UserError when it needs none."""
    splits = {}
    if config.train.enable:
        splits["train"] = config.train.dataset
        if config.train.eval_period:
            splits["val"] = config.train.dataset
    if config.test.enable:
        splits["test"] = dataset_of_test(config)
    if not splits:
        raise UserError("TRAIN.ENABLE and TEST.ENABLE are both False: there is nothing to do.")
    return splits


def read_lists(config: Config) -> dict[str, annotations.Records]:
    """The records of every split that the run will need, so that a wrong one shows at once."""
    return {
        split: annotations.records(config.data, dataset, split, num_classes=config.model.num_classes)
        for split, dataset in splits_to_read(config).items()
    }


def dataset_of_test(config: Config) -> str:
    """The data set of the test."""
    return config.test.dataset or config.train.dataset
