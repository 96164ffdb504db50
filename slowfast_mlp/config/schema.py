"""Every setting: its name, type, default, legal range and meaning.

A field `num_frames` of the section `data` is written DATA.NUM_FRAMES outside. Names are PySlowFast's where
the meaning is the same. Settings of one backbone or one data set are not here: they are the keyword arguments
of its constructor or of its `read_records`, given as MODEL.ARGS and DATA.ARGS.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from slowfast_mlp.config.data_sections import Aug, Data, DataLoader, Mixup
from slowfast_mlp.config.setting import setting
from slowfast_mlp.config.training_sections import Bn, Solver, Train

# Sections of earlier versions, with the reason they are gone. Checkpoints that hold them still load.
REMOVED = {"MULTIGRID": "there is no multigrid training"}


@dataclass(frozen=True, kw_only=True)
class Test:
    """The multi-view test."""

    enable: bool = setting(True, "test after training, with several views of a video")
    dataset: str | None = setting(
        None, "as TRAIN.DATASET, which None takes; with the same DATA settings", affects="views"
    )
    batch_size: int = setting(
        8, "clips that a process sends through the model at a time", low=1, affects="views"
    )
    checkpoint_file_path: str = setting("", "weights to test; else the newest of OUTPUT_DIR")
    num_ensemble_views: int = setting(4, "clips in time of a video", low=1, affects="views")
    num_spatial_crops: int = setting(
        1, "crops of a clip: 1 (centre) or 3 along the longer side", low=1, high=3, affects="views"
    )
    single_crop: str = setting(
        "centre",
        "the crop where there is one: centre, of DATA.TEST_SHORT_SIZE; or first, the left or top one of "
        "three, as the papers' code takes for Something-Something",
        choices=("centre", "first"),
        affects="views",
    )
    ensemble: str = setting(
        "logits",
        "what is summed over views; the papers of this family sum logits",
        choices=("logits", "probs"),
        affects="scores",
    )
    max_failed_fraction: float = setting(
        0.05, "share of videos without any view above which a test fails", low=0, high=1
    )


@dataclass(frozen=True, kw_only=True)
class Model:
    """The backbone."""

    name: str = setting("", "file of slowfast_mlp/models", affects=("model", "scores"))
    variant: str = setting("", "row of that file's VARIANTS", affects=("model", "scores"))
    num_classes: int = setting(400, "classes", low=2, affects=("training", "views"))
    args: dict[str, Any] = setting(
        dict, "keyword arguments of the constructor, over those of the variant", affects=("model", "scores")
    )
    sync_bn: bool = setting(False, "batch norm statistics over all processes", affects="training")
    act_checkpoint: bool = setting(
        False,
        "compute the activations of blocks again for the gradient, not keep them: memory for time",
        affects="training",
    )


@dataclass(frozen=True, kw_only=True)
class TensorBoard:
    """TensorBoard."""

    enable: bool = setting(True, "write TensorBoard scalars")


@dataclass(frozen=True, kw_only=True)
class Report:
    """The page of a run."""

    enable: bool = setting(
        True, "write report.html at the end of the run; a failure of it is a warning, and not the run's"
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings. Seen whole by run/; build/ takes it by section."""

    train: Train = dataclasses.field(default_factory=Train)
    test: Test = dataclasses.field(default_factory=Test)
    data: Data = dataclasses.field(default_factory=Data)
    aug: Aug = dataclasses.field(default_factory=Aug)
    mixup: Mixup = dataclasses.field(default_factory=Mixup)
    data_loader: DataLoader = dataclasses.field(default_factory=DataLoader)
    model: Model = dataclasses.field(default_factory=Model)
    bn: Bn = dataclasses.field(default_factory=Bn)
    solver: Solver = dataclasses.field(default_factory=Solver)
    tensorboard: TensorBoard = dataclasses.field(default_factory=TensorBoard)
    report: Report = dataclasses.field(default_factory=Report)
    num_gpus: int | None = setting(
        None, "GPUs of this machine to use; None is all there are, 0 the CPU", low=0
    )
    num_shards: int = setting(1, "machines; not needed under torchrun and srun", low=1)
    shard_id: int = setting(0, "number of this machine, from 0", low=0)
    output_dir: str | None = setting(
        None, "where everything is written; None is output/<folder>/<name of the config>"
    )
    rng_seed: int = setting(
        0, "seed of everything random", low=0, high=2**32 - 1, affects=("training", "views")
    )
    log_period: int = setting(10, "steps between progress lines", low=1)
    dist_timeout_sec: float = setting(
        900.0, "seconds that processes wait for each other, to meet and in every exchange", above=0
    )
    watchdog_sec: float | None = setting(
        600.0,
        "seconds at one step, evaluation or save after which the run counts as hung and is ended, with a "
        "table of who waited for whom; None never",
        above=0,
    )
