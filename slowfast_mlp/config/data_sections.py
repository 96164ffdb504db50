"""Settings of the data: DATA, AUG, MIXUP, DATA_LOADER."""

from dataclasses import dataclass
from typing import Any

from slowfast_mlp.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class Data:
    """What is read, and how clips are cut from it."""

    path_to_data_dir: str = setting(
        "", "folder of the lists; for synthetic, the cache folder", affects="views"
    )
    path_prefix: str = setting(
        "", "folder from which relative paths of the lists start; else that of the lists", affects="views"
    )
    path_label_separator: str = setting(" ", "stands between path and label", affects=("training", "views"))
    args: dict[str, Any] = setting(
        dict, "keyword arguments of the data set's read_records", affects=("training", "views")
    )
    decoder: str = setting("auto", "auto is pyav", choices=("auto", "pyav", "decord"), affects="views")
    channel_order: str = setting(
        "RGB",
        "order of the colours; BGR for weights of the forks on Something-Something, trained on OpenCV's",
        choices=("RGB", "BGR"),
        affects=("training", "views"),
    )
    sampling: str = setting(
        "auto",
        "frames of a clip: dense, at a rate; segments, one of each part of the video; auto is the data set's",
        choices=("auto", "dense", "segments"),
        affects=("training", "views"),
    )
    decode_timeout_sec: float = setting(
        120.0,
        "seconds after which a video that is still being read counts as failed; 0 waits for ever",
        low=0,
        affects="views",
    )
    max_failed_fraction: float = setting(
        0.1, "failed clips, as a share of an epoch's, above which training stops", low=0, high=1
    )
    skip_list: str = setting(
        "",
        "file of videos to leave out of training, a path a line, as failed_train_videos.txt has them; "
        "evaluation leaves nothing out",
        affects="training",
    )
    num_frames: int = setting(
        16, "frames of a clip; 1 makes the image model", low=1, affects=("model", "views")
    )
    sampling_rate: int = setting(
        4, "frames of the video per frame of the clip, dense", low=1, affects=("training", "views")
    )
    target_fps: float = setting(
        30.0, "frame rate at which SAMPLING_RATE counts", above=0, affects=("training", "views")
    )
    use_offset_sampling: bool = setting(
        True,
        "test clips from the first to the last frame, a single one in the middle",
        affects=("training", "views"),
    )
    shuffle_frames: bool = setting(
        False,
        "control: frames of each clip in random order, in training and testing",
        affects=("training", "views"),
    )
    mean: tuple[float, ...] = setting(
        (0.45, 0.45, 0.45), "subtracted from each channel, of 0 to 1", affects=("training", "views")
    )
    std: tuple[float, ...] = setting(
        (0.225, 0.225, 0.225), "divides each channel", above=0, affects=("training", "views")
    )
    train_crop_size: int = setting(
        224, "side of a training crop, pixels", low=16, affects=("model", "scores")
    )
    test_crop_size: int = setting(
        224,
        "side of a test crop, pixels; most backbones need TRAIN_CROP_SIZE",
        low=16,
        affects=("training", "views"),
    )
    test_short_size: int = setting(
        256, "short side before a single centre crop, pixels", low=16, affects=("training", "views")
    )
    train_jitter_scales_relative: tuple[float, ...] = setting(
        (0.08, 1.0), "range of a training crop's share of the frame", above=0, high=1, affects="training"
    )
    train_jitter_aspect_relative: tuple[float, ...] = setting(
        (0.75, 1.3333), "range of a training crop's width over height", above=0, affects="training"
    )
    train_interpolation: str = setting(
        "auto",
        "what resizes a training crop; auto is bilinear for videos, bicubic for pictures; random is either, "
        "drawn for every view, as timm's",
        choices=("auto", "bilinear", "bicubic", "random"),
        affects="training",
    )
    test_interpolation: str = setting(
        "auto",
        "what resizes frames for a test; auto as in training",
        choices=("auto", "bilinear", "bicubic"),
        affects=("training", "views"),
    )
    random_flip: bool = setting(
        True,
        "mirror half of the training clips; classes that tell left from right swap their labels",
        affects="training",
    )


@dataclass(frozen=True, kw_only=True)
class Aug:
    """What is done to training clips next to the random crop and the mirroring."""

    enable: bool = setting(False, "RandAugment or colour jitter, and random erasing", affects="training")
    aa_type: str = setting(
        "rand-m9-mstd0.5-inc1",
        "RandAugment in timm's words; '' for colour jitter instead",
        affects="training",
    )
    color_jitter: float = setting(
        0.4,
        "largest change of brightness, contrast and colour, as a share; for AA_TYPE '' only",
        low=0,
        affects="training",
    )
    re_prob: float = setting(
        0.25, "share of clips with an erased box, noise in all frames", low=0, high=1, affects="training"
    )
    num_sample: int = setting(
        1,
        "views of a training video, from one clip decoded once; TRAIN.BATCH_SIZE counts videos",
        low=1,
        affects="training",
    )
    mode: str = setting(
        "exact",
        "exact: on the host, in the recipe's order; fused: on the host, faster, pixels moved once, then "
        "colours changed; device: exact, on the device, which receives frames as decoded",
        choices=("exact", "fused", "device"),
        affects="training",
    )


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Mixup and CutMix of the clips of a batch."""

    enable: bool = setting(False, "mix every batch with itself in reversed order", affects="training")
    alpha: float = setting(
        0.8, "of Mixup's beta distribution; 0 leaves CutMix alone", low=0, affects="training"
    )
    cutmix_alpha: float = setting(
        1.0, "of CutMix's beta distribution; 0 leaves Mixup alone", low=0, affects="training"
    )
    prob: float = setting(1.0, "share of batches that are mixed", low=0, high=1, affects="training")
    switch_prob: float = setting(0.5, "share of CutMix where both are on", low=0, high=1, affects="training")


@dataclass(frozen=True, kw_only=True)
class DataLoader:
    """The processes that decode."""

    num_workers: int | None = setting(
        None, "processes that decode, per training process; None is one a core, 8 at most", low=0
    )
    pin_memory: bool = setting(True, "page-locked batches, on a GPU")
