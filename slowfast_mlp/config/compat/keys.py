"""The keys of PySlowFast and its forks, as tables: their defaults, which mean the same here, and which mean
nothing here, with the reason.
"""

import fnmatch
from dataclasses import dataclass
from typing import Any

# Defaults of all keys that decide something here, as in PySlowFast; those of the forks stand below.
DEFAULTS: dict[str, Any] = {
    "TRAIN.ENABLE": True,
    "TRAIN.DATASET": "kinetics",
    "TRAIN.BATCH_SIZE": 64,
    "TRAIN.EVAL_PERIOD": 10,
    "TRAIN.CHECKPOINT_PERIOD": 10,
    "TRAIN.AUTO_RESUME": True,
    "TRAIN.CHECKPOINT_FILE_PATH": "",
    "TRAIN.MIXED_PRECISION": False,
    "TEST.ENABLE": True,
    "TEST.DATASET": "kinetics",
    "TEST.BATCH_SIZE": 8,
    "TEST.CHECKPOINT_FILE_PATH": "",
    "TEST.NUM_ENSEMBLE_VIEWS": 10,
    "TEST.NUM_SPATIAL_CROPS": 3,
    "DATA.PATH_TO_DATA_DIR": "",
    "DATA.PATH_PREFIX": "",
    "DATA.PATH_LABEL_SEPARATOR": " ",
    "DATA.NUM_FRAMES": 8,
    "DATA.SAMPLING_RATE": 8,
    "DATA.TARGET_FPS": 30,
    "DATA.USE_OFFSET_SAMPLING": False,
    "DATA.DECODING_BACKEND": "torchvision",
    "DATA.MEAN": [0.45, 0.45, 0.45],
    "DATA.STD": [0.225, 0.225, 0.225],
    "DATA.TRAIN_JITTER_SCALES": [256, 320],
    "DATA.TRAIN_JITTER_SCALES_RELATIVE": [],
    "DATA.TRAIN_JITTER_ASPECT_RELATIVE": [],
    "DATA.TRAIN_CROP_SIZE": 224,
    "DATA.TEST_CROP_SIZE": 256,
    "DATA.RANDOM_FLIP": True,
    "DATA.REVERSE_INPUT_CHANNEL": False,
    "DATA.LABEL_PATH_TEMPLATE": "somesomev1_rgb_{}_split.txt",
    "DATA.IMAGE_TEMPLATE": "{:05d}.jpg",
    "DATA_LOADER.NUM_WORKERS": None,  # ours: it goes by the machine, and no result by it
    "DATA_LOADER.PIN_MEMORY": True,
    "AUG.ENABLE": False,
    "AUG.NUM_SAMPLE": 1,
    "AUG.COLOR_JITTER": 0.4,
    "AUG.AA_TYPE": "rand-m9-mstd0.5-inc1",
    "AUG.RE_PROB": 0.25,
    "MIXUP.ENABLE": False,
    "MIXUP.ALPHA": 0.8,
    "MIXUP.CUTMIX_ALPHA": 1.0,
    "MIXUP.PROB": 1.0,
    "MIXUP.SWITCH_PROB": 0.5,
    "MIXUP.LABEL_SMOOTH_VALUE": 0.1,
    "MODEL.ARCH": "slowfast",
    "MODEL.MODEL_NAME": "SlowFast",
    "MODEL.NUM_CLASSES": 400,
    "MODEL.LOSS_FUNC": "cross_entropy",
    "MODEL.ACT_CHECKPOINT": False,
    "BN.NORM_TYPE": "batchnorm",
    "BN.USE_PRECISE_STATS": False,
    "BN.NUM_BATCHES_PRECISE": 200,
    "SOLVER.OPTIMIZING_METHOD": "sgd",
    "SOLVER.MOMENTUM": 0.9,
    "SOLVER.DAMPENING": 0.0,
    "SOLVER.NESTEROV": True,
    "SOLVER.BETAS": (0.9, 0.999),
    "SOLVER.LAYER_DECAY": 1.0,
    "SOLVER.BASE_LR": 0.1,
    "SOLVER.BASE_LR_SCALE_NUM_SHARDS": False,
    "SOLVER.COSINE_END_LR": 0.0,
    "SOLVER.COSINE_AFTER_WARMUP": False,
    "SOLVER.MAX_EPOCH": 300,
    "SOLVER.WARMUP_EPOCHS": 0.0,
    "SOLVER.WARMUP_START_LR": 0.01,
    "SOLVER.WEIGHT_DECAY": 1e-4,
    "SOLVER.CLIP_GRAD_L2NORM": None,
    "SOLVER.CLIP_GRADIENT": 20.0,
    "TENSORBOARD.ENABLE": False,
    "NUM_GPUS": 1,
    "NUM_SHARDS": 1,
    "SHARD_ID": 0,
    "RNG_SEED": 1,
    "LOG_PERIOD": 10,
    "OUTPUT_DIR": ".",
    "MORPH.LAYERS": [4, 3, 8, 3],
    "MORPH.EMBED_DIMS": [192, 384, 384, 384],
    "MORPH.SEGMENT_DIM": [32, 16, 16, 16],
    "MORPH.MLP_RATIOS": [3, 3, 3, 3],
    "MORPH.DROP_DEPTH_RATE": 0.1,
    "MORPH.PRETRAIN_PATH": None,
    "POSMLP_VIDEO.LAYERS": [4, 3, 8, 3],
    "POSMLP_VIDEO.EMBED_DIMS": [192, 384, 384, 384],
    "POSMLP_VIDEO.DROP_DEPTH_RATE": 0.1,
    "POSMLP_VIDEO.PRETRAIN_PATH": None,
    "WIN_SIZE": [14, 14, 14, 7],
    "WIN_SIZE_T": [8, 3, 3, 3],
    "POSGAMMA": [8, 16, 32, 64],
}

# The same name, meaning and unit here.
SAME_BY_SECTION = {
    "TRAIN": "ENABLE EVAL_PERIOD CHECKPOINT_PERIOD AUTO_RESUME",
    "TEST": "ENABLE CHECKPOINT_FILE_PATH NUM_ENSEMBLE_VIEWS NUM_SPATIAL_CROPS",
    "DATA": "PATH_TO_DATA_DIR PATH_PREFIX PATH_LABEL_SEPARATOR NUM_FRAMES SAMPLING_RATE TARGET_FPS "
    "USE_OFFSET_SAMPLING MEAN STD TRAIN_CROP_SIZE TEST_CROP_SIZE RANDOM_FLIP",
    "DATA_LOADER": "NUM_WORKERS PIN_MEMORY",
    "AUG": "ENABLE NUM_SAMPLE COLOR_JITTER AA_TYPE RE_PROB",
    "MIXUP": "ENABLE ALPHA CUTMIX_ALPHA PROB SWITCH_PROB",
    "MODEL": "ACT_CHECKPOINT NUM_CLASSES",
    "BN": "USE_PRECISE_STATS NUM_BATCHES_PRECISE",
    "SOLVER": "MOMENTUM DAMPENING NESTEROV BETAS LAYER_DECAY COSINE_AFTER_WARMUP MAX_EPOCH WARMUP_EPOCHS "
    "WEIGHT_DECAY",
    "TENSORBOARD": "ENABLE",
    "": "NUM_GPUS NUM_SHARDS SHARD_ID RNG_SEED LOG_PERIOD",
}
SAME = tuple(
    f"{section}.{key}".lstrip(".") for section, keys in SAME_BY_SECTION.items() for key in keys.split()
)


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """A key of which this project does one thing: `values` say so; another value is refused, or warned of if
    it changes little. `of_training` keys do not matter to a run that only tests.
    """

    default: Any
    values: tuple[Any, ...]
    reason: str
    refused: bool = True
    of_training: bool = True


FIXED: dict[str, Fixed] = {
    "SOLVER.LR_POLICY": Fixed(default="cosine", values=("cosine",), reason="the learning rate is a cosine"),
    "MULTIGRID.LONG_CYCLE": Fixed(default=False, values=(False,), reason="there is no multigrid training"),
    "MULTIGRID.SHORT_CYCLE": Fixed(default=False, values=(False,), reason="there is no multigrid training"),
    "SOLVER.LARS_ON": Fixed(default=False, values=(False,), reason="there is no LARS"),
    "SOLVER.ZERO_WD_1D_PARAM": Fixed(
        default=False,
        values=(True,),
        refused=False,
        reason="biases and norms have no weight decay here, as with True",
    ),
    "BN.WEIGHT_DECAY": Fixed(
        default=0.0, values=(0.0,), refused=False, reason="norms have no weight decay here"
    ),
    "BN.NORM_TYPE": Fixed(
        default="batchnorm",
        values=("batchnorm", "sync_batchnorm", "sync_batchnorm_apex"),
        reason="batch norm is over a process, or over all with sync_batchnorm",
    ),
    "MODEL.FROZEN_BN": Fixed(default=False, values=(False,), reason="batch norm is never frozen"),
    "MODEL.DETACH_FINAL_FC": Fixed(default=False, values=(False,), reason="the whole model is trained"),
    "AUG.RE_MODE": Fixed(
        default="pixel", values=("pixel",), refused=False, reason="an erased box is noise, a pixel at a time"
    ),
    "AUG.RE_COUNT": Fixed(default=1, values=(1,), refused=False, reason="one box of a clip is erased"),
    "AUG.INTERPOLATION": Fixed(
        default="bicubic", values=("bicubic",), refused=False, reason="RandAugment is bicubic"
    ),
    "DATA.TRAIN_JITTER_FPS": Fixed(
        default=0.0, values=(0.0,), refused=False, reason="the rate of the frames is not jittered"
    ),
    "DATA.MULTI_LABEL": Fixed(
        default=False, values=(False,), of_training=False, reason="a video has one label"
    ),
    "DATA.ENSEMBLE_METHOD": Fixed(
        default="sum", values=("sum",), of_training=False, reason="the scores of the views are summed"
    ),
    "TRAIN.CHECKPOINT_TYPE": Fixed(
        default="pytorch", values=("pytorch",), of_training=False, reason="checkpoints are PyTorch's"
    ),
    "TEST.CHECKPOINT_TYPE": Fixed(
        default="pytorch", values=("pytorch",), of_training=False, reason="checkpoints are PyTorch's"
    ),
    "TEST.NUM_TEMPORAL_CLIPS": Fixed(
        default=[],
        values=([], ()),
        refused=False,
        of_training=False,
        reason="a run tests with one number of clips, TEST.NUM_ENSEMBLE_VIEWS",
    ),
    "TASK": Fixed(default="", values=("",), of_training=False, reason="the task is classification"),
    "DETECTION.ENABLE": Fixed(
        default=False, values=(False,), of_training=False, reason="the task is classification"
    ),
    "MORPH.QKV_BIAS": Fixed(
        default=True, values=(True,), of_training=False, reason="MorphMLP's linear layers have biases"
    ),
}

_OF_STEPS = "the learning rate is a cosine"
_UNREAD = "PySlowFast itself reads it nowhere"
_UNREAD_BY_MODEL = "the model never reads it"
_OTHER_FAMILY = "it belongs to a model or task that is not here"
_MEMORY = "MODEL.ACT_CHECKPOINT does it here; it changes the memory, not the result"

# Keys without effect, or whole sections by `SECTION.*`, and why.
DEAD: dict[str, str] = {
    "TRAIN.CHECKPOINT_INFLATE": "image weights are known by their shapes and inflated",
    "TRAIN.CHECKPOINT_EPOCH_RESET": "TRAIN.CHECKPOINT_FILE_PATH gives weights and always starts at epoch 1",
    "TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN": "prefixes of known wrappers are taken off",
    "TRAIN.CHECKPOINT_IN_INIT": "TRAIN.CHECKPOINT_FILE_PATH says what a run starts from",
    "TRAIN.KILL_LOSS_EXPLOSION_FACTOR": "steps that are not finite are skipped, and too many end the run",
    "TEST.SAVE_RESULTS_PATH": "predictions.csv in OUTPUT_DIR has the results of every test",
    "DATA.INPUT_CHANNEL_NUM": "a clip has 3 channels and one pathway",
    "DATA.DECODING_SHORT_SIZE": _UNREAD,
    "DATA.INV_UNIFORM_SAMPLE": _OTHER_FAMILY,
    "DATA.TRAIN_PCA_EIGVAL": "there is no PCA jitter",
    "DATA.TRAIN_PCA_EIGVEC": "there is no PCA jitter",
    "DATA.TRAIN_JITTER_MOTION_SHIFT": _OTHER_FAMILY,
    "DATA.TRAIN_CROP_NUM_TEMPORAL": _OTHER_FAMILY,
    "DATA.TRAIN_CROP_NUM_SPATIAL": _OTHER_FAMILY,
    "DATA.COLOR_RND_GRAYSCALE": _OTHER_FAMILY,
    "DATA.TIME_DIFF_PROB": _OTHER_FAMILY,
    "DATA.SSL_*": _OTHER_FAMILY,
    "DATA.LOADER_CHUNK_SIZE": "lists are read whole",
    "DATA.LOADER_CHUNK_OVERALL_SIZE": "lists are read whole",
    "DATA.SKIP_ROWS": "lists are read whole",
    "DATA.PATH_TO_PRELOAD_IMDB": "pictures are listed by their folders",
    "DATA.IN22*": _OTHER_FAMILY,
    "DATA.IN_VAL_CROP_RATIO": "DATA.TEST_SHORT_SIZE says what of a picture is tested",
    "DATA.DUMMY_LOAD": "it is for measuring PySlowFast",
    "DATA_LOADER.ENABLE_MULTI_THREAD_DECODE": "DATA_LOADER.NUM_WORKERS says how many decode",
    "AUG.RE_SPLIT": _UNREAD,
    "AUG.GEN_MASK_LOADER": _OTHER_FAMILY,
    "AUG.MASK_*": _OTHER_FAMILY,
    "AUG.MAX_MASK_*": _OTHER_FAMILY,
    "SOLVER.GAMMA": _OF_STEPS,
    "SOLVER.STEP_SIZE": _OF_STEPS,
    "SOLVER.STEPS": _OF_STEPS,
    "SOLVER.LRS": _OF_STEPS,
    "SOLVER.WARMUP_FACTOR": _UNREAD,
    "SOLVER.CLIP_GRAD_VAL": "gradients are clipped by their norm",
    "BN.NUM_SPLITS": "there is no split batch norm",
    "BN.NUM_SYNC_DEVICES": "sync_batchnorm is over all processes",
    "BN.GLOBAL_SYNC": "sync_batchnorm is over all processes",
    "BN.EPSILON": _UNREAD_BY_MODEL,
    "BN.MOMENTUM": _UNREAD_BY_MODEL,
    "MODEL.DROPOUT_RATE": "MODEL.ARGS has the dropout of a backbone that has one; MorphMLP and "
    "PosMLP-Video have none",
    "MODEL.DROPCONNECT_RATE": _UNREAD_BY_MODEL,
    "MODEL.FC_INIT_STD": _UNREAD_BY_MODEL,
    "MODEL.HEAD_ACT": "models give logits; TEST.ENSEMBLE says what is summed",
    "MODEL.SINGLE_PATHWAY_ARCH": "a clip has one pathway",
    "MODEL.MULTI_PATHWAY_ARCH": "a clip has one pathway",
    "MODEL.USE_CHECKPOINT": _MEMORY,
    "MODEL.CHECKPOINT_NUM": _MEMORY,
    "MODEL.FP16_ALLREDUCE": "gradients are averaged in fp32",
    "MORPH.TRANSITIONS": "widths that differ are what makes a stage begin with a halving",
    "MORPH.T_STRIDE": _UNREAD_BY_MODEL + "; its stem has a stride of 2 in time",
    "MORPH.PATCH_SIZE": _UNREAD_BY_MODEL + "; its stem is two 3 x 3 convolutions",
    "MORPH.QKV_SCALE": _UNREAD_BY_MODEL,
    "MORPH.ATTENTION_DROPOUT_RATE": _UNREAD_BY_MODEL,
    "POSMLP_VIDEO.TRANSITIONS": "widths that differ are what makes a stage begin with a halving",
    "POSMLP_VIDEO.T_STRIDE": _UNREAD_BY_MODEL + "; it keeps all frames",
    "POSMLP_VIDEO.PATCH_SIZE": _UNREAD_BY_MODEL + "; its stem is two 3 x 3 convolutions",
    "POSMLP_VIDEO.MLP_RATIOS": _UNREAD_BY_MODEL + "; it has no MLP next to its gating units",
    "POSMLP_VIDEO.SEGMENT_DIM": _UNREAD_BY_MODEL,
    "POSMLP_VIDEO.QKV_SCALE": _UNREAD_BY_MODEL,
    "POSMLP_VIDEO.QKV_BIAS": _UNREAD_BY_MODEL,
    "POSMLP_VIDEO.ATTENTION_DROPOUT_RATE": _UNREAD_BY_MODEL,
    "POSMLP_VIDEO.SHIFT": "the fork's windows are not shifted, whatever it says",
    "DEPTH": _UNREAD_BY_MODEL,
    "EMBED_DIM_TS": _UNREAD_BY_MODEL,
    "LOG_MODEL_INFO": "the start of a run always says what the model is",
    "DIST_BACKEND": "nccl on GPUs, gloo on CPUs",
    "MULTIGRID.*": "there is no multigrid training",
    "TENSORBOARD.*": "TensorBoard gets scalars alone",
    "BENCHMARK.*": "it is for measuring PySlowFast",
    **{
        f"{family}.*": _OTHER_FAMILY
        for family in (
            "AVA",
            "CONTRASTIVE",
            "DEMO",
            "DETECTION",
            "MASK",
            "MVIT",
            "NONLOCAL",
            "RESNET",
            "SLOWFAST",
            "UNIFORMER",
            "VIS_MASK",
            "X3D",
        )
    },
}


def reason_of_dead(key: str) -> str | None:
    """Why a key has no effect here; None of a key that has one, or is unknown."""
    if key in DEFAULTS or key in FIXED:
        return None
    return next((reason for pattern, reason in DEAD.items() if fnmatch.fnmatchcase(key, pattern)), None)
