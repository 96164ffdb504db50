"""Which lists a run reads."""

from slowfast_mlp.builders import annotations
from slowfast_mlp.config.schema import Config, Test, Train
from slowfast_mlp.errors import UserError


def splits_to_read(train: Train, test: Test) -> dict[str, str]:
    """The splits that the run will need, with the data set of each. Raises UserError when it needs none."""
    splits = {}
    if train.enable:
        splits["train"] = train.dataset
        if train.eval_period:
            splits["val"] = train.dataset
    if test.enable:
        splits["test"] = test.dataset or train.dataset
    if not splits:
        raise UserError("TRAIN.ENABLE and TEST.ENABLE are both False: there is nothing to do.")
    return splits


def read_lists(config: Config) -> dict[str, annotations.Records]:
    """The records of every split that the run will need, so that a wrong one shows at once."""
    return {
        split: annotations.records(config.data, dataset, split, num_classes=config.model.num_classes)
        for split, dataset in splits_to_read(config.train, config.test).items()
    }
