"""Settings of a training: TRAIN, SOLVER, BN."""

from dataclasses import dataclass

from slowfast_mlp.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class Train:
    """Training."""

    enable: bool = setting(True, "train before testing")
    dataset: str = setting(
        "kinetics", "file of slowfast_mlp/data/datasets that reads the lists", affects=("training", "views")
    )
    batch_size: int = setting(64, "videos of a step, over all processes", low=1, affects="batch")
    sampler: str = setting(
        "shuffle",
        "order of an epoch: every video once; every class equally often; or a third of the videos, each "
        "three times with other draws (DeiT's repeated augmentation)",
        choices=("shuffle", "balanced", "repeated"),
        affects="training",
    )
    precision: str = setting(
        "auto",
        "arithmetic of the model; auto is bf16 where the device has it",
        choices=("auto", "fp32", "bf16", "fp16"),
        affects=("rounding", "views"),
    )
    accumulate_steps: int = setting(
        1,
        "parts in which a process sends its share of a step through the model, to save memory",
        low=1,
        affects="accumulation",
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
        affects="ema",
    )
    ema_warmup: bool = setting(
        False, "average over fewer steps at the start: (1 + n) / (10 + n) at step n", affects="ema"
    )
    eval_period: int = setting(5, "epochs between validations, one after the last too; 0 never", low=0)
    checkpoint_period: int = setting(1, "epochs between checkpoints, one after the last too", low=1)
    checkpoint_period_steps: int | None = setting(
        None, "steps of the run between checkpoints, next to those after epochs; None never", low=1
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
class Solver:
    """The optimiser and its learning rate."""

    base_lr: float = setting(
        2e-4, "learning rate after the warm-up, not scaled by anything", low=0, affects="lr"
    )
    cosine_end_lr: float = setting(1e-6, "learning rate at the end", low=0, affects="lr")
    cosine_after_warmup: bool = setting(
        True,
        "the cosine begins after the warm-up; else with the training, and the warm-up goes up to it",
        affects="training",
    )
    max_epoch: int = setting(60, "epochs, with those of the cooldown", low=1, affects="lr")
    cooldown_epochs: int = setting(0, "last epochs of MAX_EPOCH, at COSINE_END_LR", low=0, affects="training")
    warmup_epochs: float = setting(10.0, "epochs of linear warm-up", low=0, affects="lr")
    warmup_start_lr: float = setting(1e-6, "learning rate at the start of the warm-up", low=0, affects="lr")
    optimizing_method: str = setting(
        "adamw",
        "the optimiser; adam and sgd add the decay to the gradient",
        choices=("adamw", "adam", "sgd"),
        affects="course",
    )
    weight_decay: float = setting(0.05, "on parameters of two axes and more", low=0, affects="training")
    layer_decay: float = setting(
        1.0,
        "factor of the learning rate from each layer to the one before it",
        above=0,
        high=1,
        affects="training",
    )
    betas: tuple[float, ...] = setting(
        (0.9, 0.999), "adamw's and adam's two", low=0, high=0.999999, affects="training"
    )
    eps: float = setting(
        1e-8, "adamw's and adam's, added to the root of the second moment", above=0, affects="training"
    )
    momentum: float = setting(0.9, "sgd's", low=0, high=0.999999, affects="training")
    dampening: float = setting(
        0.0, "share of the gradient kept out of sgd's momentum", low=0, high=1, affects="training"
    )
    nesterov: bool = setting(True, "sgd's: look ahead along the momentum", affects="training")
    fused: bool | None = setting(
        None, "the optimiser in one kernel a group; None is where the device can", affects="training"
    )
    max_nonfinite_steps: int = setting(
        10,
        "steps in a row, skipped because loss or gradient was not finite, after which training ends; looked "
        "at every LOG_PERIOD",
        low=1,
        affects="training",
    )
    clip_grad_l2norm: float | None = setting(
        None, "global gradient norm above which gradients are scaled down", above=0, affects="training"
    )
    label_smoothing: float = setting(
        0.0, "share of the target spread over all classes", low=0, high=0.9, affects="training"
    )


@dataclass(frozen=True, kw_only=True)
class Bn:
    """Batch norm."""

    use_precise_stats: bool = setting(
        False,
        "after an epoch with validation or checkpoint, recompute running statistics, over its batches",
        affects="training",
    )
    num_batches_precise: int = setting(
        200, "steps whose batches that takes, an epoch's at most", low=1, affects="training"
    )
