"""Checks of settings that depend on each other."""

from slowfast_mlp.config.schema import Config
from slowfast_mlp.errors import UserError


def check_settings(config: Config) -> None:
    """Raises UserError for settings that are legal alone and not together."""
    data, test = config.data, config.test
    if test.num_spatial_crops == 2:
        raise UserError("TEST.NUM_SPATIAL_CROPS 2: use 1 (centre) or 3.")
    for key, pair in (
        ("SCALES", data.train_jitter_scales_relative),
        ("ASPECT", data.train_jitter_aspect_relative),
    ):
        if len(pair) != 2 or pair[0] > pair[1]:
            raise UserError(f"DATA.TRAIN_JITTER_{key}_RELATIVE {list(pair)}: give [smallest, largest].")
    for key, values in (("MEAN", data.mean), ("STD", data.std)):
        if len(values) != 3:
            raise UserError(f"DATA.{key} {list(values)}: give 3 numbers, one a channel.")
    if not data.path_label_separator:
        raise UserError("DATA.PATH_LABEL_SEPARATOR '': give the character between path and label.")
    if data.test_short_size < data.test_crop_size:
        raise UserError(
            f"DATA.TEST_SHORT_SIZE {data.test_short_size} is below DATA.TEST_CROP_SIZE "
            f"{data.test_crop_size}: "
            "a crop must fit into the frame."
        )
    if config.mixup.enable and not config.mixup.alpha and not config.mixup.cutmix_alpha:
        raise UserError("MIXUP.ALPHA 0 and MIXUP.CUTMIX_ALPHA 0: set one above 0, or MIXUP.ENABLE False.")
    if config.shard_id >= config.num_shards:
        raise UserError(
            f"SHARD_ID {config.shard_id}: with NUM_SHARDS {config.num_shards} give 0 to "
            f"{config.num_shards - 1}."
        )
