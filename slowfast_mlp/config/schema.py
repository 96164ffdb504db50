"""Every setting: its name, type, default, legal range and meaning.

A field `num_frames` of the section `data` is written DATA.NUM_FRAMES outside. Names are PySlowFast's where
the meaning is the same. Settings of one backbone or one data set are not here: they are the keyword arguments
of its constructor or of its `read_records`, given as MODEL.ARGS and DATA.ARGS.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

# Sections of earlier versions, with the reason they are gone. Checkpoints that hold them still load.
REMOVED = {"MULTIGRID": "there is no multigrid training"}


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A field: `low` and `high` are legal themselves, `above` is not; they hold in lists too."""
    metadata = {"meaning": meaning, "low": low, "high": high, "above": above, "choices": choices}
    if default is dict:
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Training."""

    enable: bool = setting(True, "train before testing")
    dataset: str = setting("kinetics", "file of slowfast_mlp/data/datasets that reads the lists")
    batch_size: int = setting(64, "videos of a step, over all processes", low=1)
    sampler: str = setting(
        "shuffle",
        "order of an epoch: every video once; every class equally often; or a third of the videos, each "
        "three times with other draws (DeiT's repeated augmentation)",
        choices=("shuffle", "balanced", "repeated"),
    )
    precision: str = setting(
        "auto",
        "arithmetic of the model; auto is bf16 where the device has it",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    accumulate_steps: int = setting(
        1, "parts in which a process sends its share of a step through the model, to save memory", low=1
    )
    compile: bool = setting(False, "train the model compiled by torch.compile")
    shard_optimizer: bool = setting(
        False, "every process holds a share of the optimiser's state (ZeRO, stage 1)"
    )
    ema_decay: float = setting(
        0.0,
        "share of the averaged weights kept at a step, such as 0.9999; 0 averages none",
        low=0,
        high=0.999999,
    )
    ema_warmup: bool = setting(False, "average over fewer steps at the start: (1 + n) / (10 + n) at step n")
    eval_period: int = setting(5, "epochs between validations, one after the last too; 0 never", low=0)
    checkpoint_period: int = setting(1, "epochs between checkpoints, one after the last too", low=1)
    checkpoint_period_steps: int | None = setting(
        None, "steps of the run between checkpoints, beside those after epochs; None never", low=1
    )
    checkpoint_period_minutes: float | None = setting(
        None, "minutes after which a checkpoint follows the one before; None never", above=0
    )
    keep_last: int | None = setting(
        3, "newest checkpoints that are kept, older ones are deleted; None keeps all", low=1
    )
    keep_best: bool = setting(
        True, "keep the checkpoint with the highest top-1 of the validations as checkpoints/best.pyth"
    )
    auto_resume: bool = setting(True, "go on from the newest whole checkpoint of OUTPUT_DIR")
    checkpoint_file_path: str = setting(
        "", "weights to start from: video or image model, ours or the authors'"
    )


@dataclass(frozen=True, kw_only=True)
class Test:
    """The multi-view test."""

    enable: bool = setting(True, "test after training, with several views of a video")
    dataset: str | None = setting(None, "as TRAIN.DATASET, which None takes; with the same DATA settings")
    batch_size: int = setting(8, "clips that a process sends through the model at a time", low=1)
    checkpoint_file_path: str = setting("", "weights to test; else the newest of OUTPUT_DIR")
    num_ensemble_views: int = setting(4, "clips in time of a video", low=1)
    num_spatial_crops: int = setting(
        1, "crops of a clip: 1 (centre) or 3 along the longer side", low=1, high=3
    )
    single_crop: str = setting(
        "centre",
        "the crop where there is one: centre, of DATA.TEST_SHORT_SIZE; or first, the left or top one of "
        "three, as the papers' code takes for Something-Something",
        choices=("centre", "first"),
    )
    ensemble: str = setting(
        "logits",
        "what is summed over views; the papers of this family sum logits",
        choices=("logits", "probs"),
    )
    max_failed_fraction: float = setting(
        0.05, "share of videos without any view above which a test fails", low=0, high=1
    )


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is read, and how clips are cut from it."""

    path_to_data_dir: str = setting("", "folder of the lists; for synthetic, the cache folder")
    path_prefix: str = setting(
        "", "folder from which relative paths of the lists start; else that of the lists"
    )
    path_label_separator: str = setting(" ", "stands between path and label")
    args: dict[str, Any] = setting(dict, "keyword arguments of the data set's read_records")
    decoder: str = setting("auto", "auto is pyav", choices=("auto", "pyav", "decord"))
    channel_order: str = setting(
        "RGB",
        "order of the colours; BGR for weights of the forks on Something-Something, trained on OpenCV's",
        choices=("RGB", "BGR"),
    )
    sampling: str = setting(
        "auto",
        "frames of a clip: dense, at a rate; segments, one of each part of the video; auto is the data set's",
        choices=("auto", "dense", "segments"),
    )
    decode_timeout_sec: float = setting(
        120.0,
        "seconds after which a video that is still being read counts as failed; 0 waits for ever",
        low=0,
    )
    max_failed_fraction: float = setting(
        0.1, "failed clips, as a share of an epoch's, above which training stops", low=0, high=1
    )
    skip_list: str = setting(
        "",
        "file of videos to leave out of training, a path a line, as failed_train_videos.txt has them; "
        "evaluation leaves nothing out",
    )
    num_frames: int = setting(16, "frames of a clip; 1 makes the image model", low=1)
    sampling_rate: int = setting(4, "frames of the video per frame of the clip, dense", low=1)
    target_fps: float = setting(30.0, "frame rate at which SAMPLING_RATE counts", above=0)
    use_offset_sampling: bool = setting(
        True, "test clips from the first to the last frame, a single one in the middle"
    )
    shuffle_frames: bool = setting(
        False, "control: frames of each clip in random order, in training and testing"
    )
    mean: tuple[float, ...] = setting((0.45, 0.45, 0.45), "subtracted from each channel, of 0 to 1")
    std: tuple[float, ...] = setting((0.225, 0.225, 0.225), "divides each channel", above=0)
    train_crop_size: int = setting(224, "side of a training crop, pixels", low=16)
    test_crop_size: int = setting(
        224, "side of a test crop, pixels; most backbones need TRAIN_CROP_SIZE", low=16
    )
    test_short_size: int = setting(256, "short side before a single centre crop, pixels", low=16)
    train_jitter_scales_relative: tuple[float, ...] = setting(
        (0.08, 1.0), "range of a training crop's share of the frame", above=0, high=1
    )
    train_jitter_aspect_relative: tuple[float, ...] = setting(
        (0.75, 1.3333), "range of a training crop's width over height", above=0
    )
    train_interpolation: str = setting(
        "auto",
        "what resizes a training crop; auto is bilinear for videos, bicubic for pictures; random is either, "
        "drawn for every view, as timm's",
        choices=("auto", "bilinear", "bicubic", "random"),
    )
    test_interpolation: str = setting(
        "auto",
        "what resizes frames for a test; auto as in training",
        choices=("auto", "bilinear", "bicubic"),
    )
    random_flip: bool = setting(
        True, "mirror half of the training clips; classes that tell left from right swap their labels"
    )


@dataclass(frozen=True, kw_only=True)
class Aug:
    """What is done to training clips beside the random crop and the mirroring."""

    enable: bool = setting(False, "RandAugment or colour jitter, and random erasing")
    aa_type: str = setting(
        "rand-m9-mstd0.5-inc1", "RandAugment in timm's words; '' for colour jitter instead"
    )
    color_jitter: float = setting(
        0.4, "largest change of brightness, contrast and colour, as a share; for AA_TYPE '' only", low=0
    )
    re_prob: float = setting(0.25, "share of clips with an erased box, noise in all frames", low=0, high=1)
    num_sample: int = setting(
        1, "views of a training video, from one clip decoded once; TRAIN.BATCH_SIZE counts videos", low=1
    )
    mode: str = setting(
        "exact",
        "exact: on the host, in the recipe's order; fused: on the host, faster, pixels moved once, then "
        "colours changed; device: exact, on the device, which receives frames as decoded",
        choices=("exact", "fused", "device"),
    )


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Mixup and CutMix of the clips of a batch."""

    enable: bool = setting(False, "mix every batch with itself in reversed order")
    alpha: float = setting(0.8, "of Mixup's beta distribution; 0 leaves CutMix alone", low=0)
    cutmix_alpha: float = setting(1.0, "of CutMix's beta distribution; 0 leaves Mixup alone", low=0)
    prob: float = setting(1.0, "share of batches that are mixed", low=0, high=1)
    switch_prob: float = setting(0.5, "share of CutMix where both are on", low=0, high=1)


@dataclass(frozen=True, kw_only=True)
class DataLoader:
    """The processes that decode."""

    num_workers: int | None = setting(
        None, "processes that decode, per training process; None is one a core, 8 at most", low=0
    )
    pin_memory: bool = setting(True, "page-locked batches, on a GPU")


@dataclass(frozen=True, kw_only=True)
class Model:
    """The backbone."""

    name: str = setting("", "file of slowfast_mlp/models")
    variant: str = setting("", "row of that file's VARIANTS")
    num_classes: int = setting(400, "classes", low=2)
    args: dict[str, Any] = setting(dict, "keyword arguments of the constructor, over those of the variant")
    sync_bn: bool = setting(False, "batch norm statistics over all processes")
    act_checkpoint: bool = setting(
        False, "compute the activations of blocks again for the gradient, not keep them: memory for time"
    )


@dataclass(frozen=True, kw_only=True)
class Bn:
    """Batch norm."""

    use_precise_stats: bool = setting(
        False,
        "after an epoch with validation or checkpoint, compute running statistics anew, over its batches",
    )
    num_batches_precise: int = setting(200, "steps whose batches that takes, an epoch's at most", low=1)


@dataclass(frozen=True, kw_only=True)
class Solver:
    """The optimiser and its learning rate."""

    base_lr: float = setting(2e-4, "learning rate after the warm-up, not scaled by anything", low=0)
    cosine_end_lr: float = setting(1e-6, "learning rate at the end", low=0)
    cosine_after_warmup: bool = setting(
        True, "the cosine begins after the warm-up; else with the training, and the warm-up goes up to it"
    )
    max_epoch: int = setting(60, "epochs, with those of the cooldown", low=1)
    cooldown_epochs: int = setting(0, "last epochs of MAX_EPOCH, at COSINE_END_LR", low=0)
    warmup_epochs: float = setting(10.0, "epochs of linear warm-up", low=0)
    warmup_start_lr: float = setting(1e-6, "learning rate at the start of the warm-up", low=0)
    optimizing_method: str = setting(
        "adamw", "the optimiser; adam and sgd add the decay to the gradient", choices=("adamw", "adam", "sgd")
    )
    weight_decay: float = setting(0.05, "on parameters of two axes and more", low=0)
    layer_decay: float = setting(
        1.0, "factor of the learning rate from each layer to the one before it", above=0, high=1
    )
    betas: tuple[float, ...] = setting((0.9, 0.999), "adamw's and adam's two", low=0, high=0.999999)
    eps: float = setting(1e-8, "adamw's and adam's, added to the root of the second moment", above=0)
    momentum: float = setting(0.9, "sgd's", low=0, high=0.999999)
    dampening: float = setting(0.0, "share of the gradient kept out of sgd's momentum", low=0, high=1)
    nesterov: bool = setting(True, "sgd's: look ahead along the momentum")
    fused: bool | None = setting(None, "the optimiser in one kernel a group; None is where the device can")
    max_nonfinite_steps: int = setting(
        10,
        "steps in a row, skipped because loss or gradient was not finite, after which training ends; looked "
        "at every LOG_PERIOD",
        low=1,
    )
    clip_grad_l2norm: float | None = setting(
        None, "global gradient norm above which gradients are scaled down", above=0
    )
    label_smoothing: float = setting(0.0, "share of the target spread over all classes", low=0, high=0.9)


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
    rng_seed: int = setting(0, "seed of everything random", low=0, high=2**32 - 1)
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
