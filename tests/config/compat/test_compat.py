"""YAMLs of PySlowFast and its forks: the released ones load, or are refused for their true reason."""

import math
from pathlib import Path

import pytest
import torch
import yaml

from slowfast_mlp.builders import model as model_builder
from slowfast_mlp.builders import solver
from slowfast_mlp.config.compat.keys import FIXED, SAME, reason_of_dead
from slowfast_mlp.config.load import dump_config, load_config
from slowfast_mlp.config.schema import Config, Mixup
from slowfast_mlp.engine.optimizer import parameter_groups
from slowfast_mlp.errors import UserError

RELEASED = Path(__file__).parent / "released"
# File -> variant, frames, stochastic depth, learning rate, warm-up, epochs, as in MorphMLP's repository. The
# two that are refused as they stand are loaded with what their message says.
MORPHMLP = {
    "K400_MLP_S16x4": ("S", 16, 0.1, 2e-4, 10, 60, ""),
    "K400_MLP_S32x4": ("S", 32, 0.1, 2e-4, 10, 60, ""),
    "K400_MLP_B16x4": ("B", 16, 0.3, 2e-4, 10, 60, ""),
    "K400_MLP_B32x4": ("B", 32, 0.3, 2e-4, 30, 60, ""),
    "SSV1_MLP_S16": ("S", 16, 0.3, 4e-4, 5, 60, ""),
    "SSV1_MLP_S32": ("S", 32, 0.3, 4e-4, 5, 60, "MODEL.MODEL_NAME MorphMLP_32"),
    "SSV1_MLP_B16": ("B", 16, 0.5, 4e-4, 5, 60, ""),
    "SSV1_MLP_B32": ("B", 32, 0.5, 4e-4, 5, 60, ""),
    "SSV2_MLP_S16": ("S", 16, 0.3, 4e-4, 5, 60, ""),
    "SSV2_MLP_S32": ("S", 32, 0.3, 4e-4, 5, 60, ""),
    "SSV2_MLP_B16": ("B", 16, 0.6, 4e-4, 5, 60, ""),
    "SSV2_MLP_B32": ("B", 32, 0.6, 4e-4, 5, 64, "MORPH.PRETRAIN_PATH pretrained/video_morphmlp_b.pth"),
}
# Parameters of the paper's code: frames, variant -> with 400 classes and with 174.
MORPHMLP_PARAMETERS = {
    ("S", 16): (47_039_154, 46_861_744),
    ("S", 32): (47_463_018, 47_285_608),
    ("B", 16): (67_784_382, 67_606_972),
    ("B", 32): (68_490_822, 68_313_412),
}


def released(name, overrides=""):
    return load_config(str(RELEASED / f"{name}.yaml"), overrides.split())


def lr_of(config, epochs):
    return [solver.schedule(config.solver)(epoch) for epoch in epochs]


def built(config):
    with torch.device("meta"):
        return model_builder.model(
            config.model,
            num_frames=config.data.num_frames,
            crop_size=config.data.train_crop_size,
            test_crop_size=config.data.test_crop_size,
        )


def decayed_and_spared(config):
    """Numbers of parameters with and without weight decay."""
    groups = parameter_groups(built(config), config.solver.weight_decay)
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]
    return [sum(parameter.numel() for parameter in group["params"]) for group in groups]


def test_all_released_files_are_here():
    names = {path.stem for path in RELEASED.glob("*.yaml")}
    others = {"POSMLP_VIDEO_SSV1_MLP_S16", "UNIFORMER_S16x4", "PYSLOWFAST_MVITv2_S_16x4"}
    assert names == set(MORPHMLP) | others and len(MORPHMLP) == 12


@pytest.mark.parametrize("name", MORPHMLP)
def test_a_released_morphmlp_file_is_its_recipe(name):
    variant, num_frames, drop_path, lr, warmup, num_epochs, mended = MORPHMLP[name]
    config = released(name, mended)
    model = config.model
    assert (model.name, model.variant, model.args) == ("morphmlp", variant, {"drop_path": drop_path})
    assert (config.data.num_frames, model.num_classes) == (num_frames, 400 if "K400" in name else 174)
    assert (config.train.batch_size, config.train.precision) == (64, "fp16")
    assert config.train.checkpoint_file_path == f"pretrained/video_morphmlp_{variant.lower()}.pth"
    assert config.data.random_flip == ("K400" in name)
    assert (config.aug.aa_type, config.aug.num_sample) == ("rand-m7-n4-mstd0.5-inc1", 2)
    assert config.mixup == Mixup(enable=True, alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5)
    assert (config.solver.clip_grad_l2norm, config.solver.label_smoothing) == (20, 0.1)
    assert (config.test.ensemble, config.test.batch_size) == ("logits", 8)  # 64 of a machine with 8 GPUs
    rise = [1e-6 + (lr - 1e-6) * epoch / warmup for epoch in (0, warmup / 2)]
    fall = [
        1e-6 + (lr - 1e-6) * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (num_epochs - warmup)))
        for epoch in (warmup, 40.25, num_epochs)
    ]
    epochs = (0, warmup / 2, warmup, 40.25, num_epochs)
    assert lr_of(config, epochs) == pytest.approx([*rise, *fall])


@pytest.mark.parametrize("name", MORPHMLP)
def test_weights_decay_and_biases_and_norms_do_not(name):
    variant, num_frames, *_, mended = MORPHMLP[name]
    config = released(name, mended)
    num_classes = config.model.num_classes
    # A block has 13 C^2 weights, one of the last stage 11.75; with 32 frames the third stage mixes 448.
    depths = {"S": (3, 4, 9, 3), "B": (4, 6, 15, 4)}[variant]
    blocks = sum(13 * depth * dim**2 for depth, dim in zip(depths, (112, 224, 392)))
    blocks += depths[3] * 784**2 * 47 // 4 + (num_frames == 32) * depths[2] * (448**2 - 392**2)
    kernels = 56 * 3 * 27 + 9 * (112 * 56 + 224 * 112 + 392 * 224 + 784 * 392)
    decayed = blocks + kernels + 784 * num_classes
    total = MORPHMLP_PARAMETERS[variant, num_frames][num_classes == 174]
    assert decayed_and_spared(config) == [decayed, total - decayed]


@pytest.mark.parametrize(
    ("name", "dataset", "arguments"),
    [
        ("K400_MLP_S16x4", "kinetics", {}),
        ("SSV1_MLP_S16", "ssv1", {}),
        ("SSV2_MLP_S16", "ssv2", {"form": "frames"}),
        ("POSMLP_VIDEO_SSV1_MLP_S16", "ssv1", {}),
    ],
)
def test_the_lists_say_which_data_set_sth_is(name, dataset, arguments):
    config = released(name)
    assert (config.train.dataset, config.test.dataset, config.data.args) == (dataset, None, arguments)


def test_the_released_posmlp_video_file_is_its_recipe():
    config = released("POSMLP_VIDEO_SSV1_MLP_S16")
    model = config.model
    assert (model.name, model.variant, model.args) == ("posmlp_video", "S", {"drop_path": 0.1})
    assert (config.train.batch_size, config.test.batch_size, config.num_gpus) == (32, 8, 4)
    assert config.train.checkpoint_file_path == "pretrained/model72andt.pth"
    # Worked out by hand: half way up, the top, half way down, the end.
    assert lr_of(config, (0, 2.5, 5, 32.5, 60)) == pytest.approx([1e-6, 2.005e-4, 4e-4, 2.005e-4, 1e-6])
    # A block has 6 C^2 weights and tables of W^2 + (2W-1)^2 g and T + (2T-1) g numbers, decayed as weights.
    dims, depths, windows, groups = (72, 144, 288, 576), (3, 4, 9, 3), (14, 14, 14, 7), (8, 16, 32, 64)
    decayed = sum(
        depth * (6 * dim**2 + W**2 + (2 * W - 1) ** 2 * g + 16 + 31 * g)
        for dim, depth, W, g in zip(dims, depths, windows, groups)
    )
    decayed += 36 * 3 * 9 + 9 * (72 * 36 + 144 * 72 + 288 * 144 + 576 * 288) + 576 * 174
    assert decayed_and_spared(config) == [decayed, 13_509_537 - decayed]


@pytest.mark.parametrize(
    ("name", "overrides", "reason"),
    [
        ("SSV1_MLP_S32", "", "MorphMLP has weights for 16 frames, and DATA.NUM_FRAMES is 32"),
        ("SSV1_MLP_S32", "", "Set MODEL.MODEL_NAME MorphMLP_32 or DATA.NUM_FRAMES 16"),
        ("K400_MLP_S32x4", "DATA.NUM_FRAMES 16", "Set MODEL.MODEL_NAME MorphMLP or DATA.NUM_FRAMES 32"),
        ("K400_MLP_S16x4", "DATA.NUM_FRAMES 8", "is 8: in the fork the first clip .* Set DATA.NUM_FRAMES 16"),
        ("SSV2_MLP_B32", "", "video_morphmlp_s.pth' is, by its name, of S, and MORPH.LAYERS .* of B"),
        ("SSV2_MLP_B32", "", "Set MORPH.PRETRAIN_PATH pretrained/video_morphmlp_b.pth"),
        ("K400_MLP_S16x4", "MODEL.LOSS_FUNC cross_entropy", "MIXUP.ENABLE True mixes labels, and MODEL.LOSS"),
        ("K400_MLP_S16x4", "MODEL.LOSS_FUNC bce", "the loss here is the cross entropy"),
        (
            "K400_MLP_S16x4",
            "DATA.TEST_CROP_SIZE 256",
            "256 does not fit MorphMLP, .* Set DATA.TEST_CROP_SIZE 2",
        ),
        ("K400_MLP_S16x4", "TRAIN.DATASET ava", "TRAIN.DATASET 'ava' is not here"),
        ("K400_MLP_S16x4", "TEST.DATASET ssv2", "are read in different ways"),
        ("K400_MLP_S16x4", "SOLVER.OPTIMIZING_METHOD lars", "SOLVER.OPTIMIZING_METHOD 'lars'"),
        ("K400_MLP_S16x4", "SOLVER.LR_POLICY steps_with_relative_lrs", "Set SOLVER.LR_POLICY cosine"),
        ("K400_MLP_S16x4", "MORPH.MLP_RATIOS [3,3,3,4]", "give one ratio for all stages"),
        ("K400_MLP_S16x4", "MORPH.QKV_BIAS False", "MorphMLP's linear layers have biases"),
        ("K400_MLP_S16x4", "MORPH.LAYERS 3", "MORPH.LAYERS 3: give a list of numbers"),
        ("K400_MLP_S16x4", "TRAIN.BATCH_SIZE many", "TRAIN.BATCH_SIZE 'many': give a number"),
        ("K400_MLP_S16x4", "DATA.DECODING_BACKEND cv2", "use pyav or decord"),
        ("K400_MLP_S16x4", "MORPH.LAYER [3]", r"unknown key MORPH.LAYER .* Did you mean MORPH.LAYERS\?"),
        ("K400_MLP_S16x4", "DATA.DECODER cv2", "DATA.DECODER 'cv2': use one of auto, pyav, decord"),
        ("POSMLP_VIDEO_SSV1_MLP_S16", "DATA.NUM_FRAMES 32", r"Set WIN_SIZE_T \[32, 32, 32, 32\]"),
        (
            "POSMLP_VIDEO_SSV1_MLP_S16",
            "POSMLP_VIDEO.EMBED_DIMS [112,224,392,784]",
            "392 is no multiple of its POSGAMMA 32",
        ),
        (
            "POSMLP_VIDEO_SSV1_MLP_S16",
            "MODEL.MODEL_NAME PosMLP_Video_32",
            "is MorphMLP_32 under another name",
        ),
        ("UNIFORMER_S16x4", "", "MODEL.MODEL_NAME Uniformer: this model is not here"),
        ("PYSLOWFAST_MVITv2_S_16x4", "", "MODEL.MODEL_NAME MViT: this model is not here"),
    ],
)
def test_a_file_that_cannot_work_is_refused_for_its_true_reason(name, overrides, reason):
    with pytest.raises(UserError, match=reason):
        released(name, overrides)


def test_the_rest_of_a_file_trains_another_backbone():
    own_model = "MODEL.NAME vast MODEL.VARIANT Ti DATA.TEST_CROP_SIZE 224"
    uniformer = released("UNIFORMER_S16x4", own_model)
    mvit = released("PYSLOWFAST_MVITv2_S_16x4", own_model)
    assert (uniformer.model.name, uniformer.model.variant, uniformer.model.args) == ("vast", "Ti", {})
    assert (uniformer.data.decoder, mvit.data.decoder) == ("decord", "pyav")
    assert (uniformer.train.batch_size, mvit.train.batch_size) == (8, 16)
    # UniFormer clips at a default of its own, sums logits and trains in fp16; PySlowFast says so or not.
    for config, clip, ensemble, precision in (
        (uniformer, 20.0, "logits", "fp16"),
        (mvit, 1.0, "probs", "fp32"),
    ):
        assert (config.solver.clip_grad_l2norm, config.test.ensemble) == (clip, ensemble)
        assert config.train.precision == precision
    assert (mvit.test.num_ensemble_views, uniformer.test.num_ensemble_views) == (5, 10)
    assert lr_of(mvit, (0, 30, 200)) == pytest.approx([1e-6, 1e-4, 1e-6])


def test_overrides_are_taken_under_their_names_and_under_ours():
    words = (
        "MORPH.DROP_DEPTH_RATE 0.2 SOLVER.CLIP_GRADIENT 5 DATA.DECODING_BACKEND decord TEST.SINGLE_CROP first"
    )
    config = released("K400_MLP_S16x4", f"{words} MODEL.ARGS.temporal_init untied OUTPUT_DIR 7")
    assert config.model.args == {"drop_path": 0.2, "temporal_init": "untied"}
    assert (config.solver.clip_grad_l2norm, config.data.decoder) == (5.0, "decord")
    assert (config.test.single_crop, config.output_dir) == ("first", "7")


def test_batches_and_learning_rates_of_a_machine_become_those_of_all():
    config = released("K400_MLP_S16x4", "NUM_SHARDS 4 NUM_GPUS 2 TEST.BATCH_SIZE 10")
    assert (config.train.batch_size, config.test.batch_size) == (256, 5)
    assert (config.solver.base_lr, config.solver.warmup_start_lr) == (8e-4, 4e-6)
    assert (
        released("K400_MLP_S16x4", "NUM_SHARDS 4 SOLVER.BASE_LR_SCALE_NUM_SHARDS False").solver.base_lr
        == 2e-4
    )


@pytest.mark.parametrize(
    ("name", "overrides", "key", "value"),
    [
        ("K400_MLP_S16x4", "MORPH.EMBED_DIMS [56,112,196,392]", "model.args",
         {"depths": [3, 4, 9, 3], "dims": [56, 112, 196, 392], "drop_path": 0.1}),
        ("K400_MLP_S16x4", "MORPH.SEGMENT_DIM [14,28,28,7] MORPH.MLP_RATIOS [4,4,4,4]", "model.args",
         {"chunk_lens": [14, 28, 28, 7], "mlp_ratio": 4, "drop_path": 0.1}),
        ("K400_MLP_S16x4", "MORPH.LAYERS [4,8,18,6] MORPH.PRETRAIN_PATH None", "model.variant", "L"),
        ("POSMLP_VIDEO_SSV1_MLP_S16", "POSMLP_VIDEO.EMBED_DIMS [96,192,384,768]", "model.variant", "S96"),
        ("POSMLP_VIDEO_SSV1_MLP_S16", "POSGAMMA [4,8,16,32] WIN_SIZE [28,28,14,7]", "model.args",
         {"num_groups": [4, 8, 16, 32], "windows": [28, 28, 14, 7], "drop_path": 0.1}),
        ("SSV1_MLP_S16", "DATA.IMAGE_TEMPLATE img_{:05d}.jpg", "data.args", {"template": "img_{:05d}.jpg"}),
        ("SSV1_MLP_S16", "DATA.LABEL_PATH_TEMPLATE v2_{}.txt DATA.IMAGE_TEMPLATE {:06d}.jpg", "data.args",
         {"form": "frames", "train_list": "v2_train.txt", "val_list": "v2_validation.txt"}),
        ("SSV1_MLP_S16", "DATA.LABEL_PATH_TEMPLATE mine_{}.txt", "train.dataset", "ssv1"),
        ("SSV1_MLP_S16", "", "data.test_short_size", 224),
        ("K400_MLP_S16x4", "", "data.test_short_size", 256),
        ("K400_MLP_S16x4", "TRAIN.DATASET Kinetics_sparse TEST.DATASET Kinetics_sparse", "data.sampling",
         "segments"),
        ("K400_MLP_S16x4", "TRAIN.DATASET ssv2 TEST.DATASET ssv2", "data.args", {"form": "frame_csv"}),
        ("K400_MLP_S16x4", "DATA.REVERSE_INPUT_CHANNEL True", "data.channel_order", "BGR"),
        ("SSV1_MLP_S16", "DATA.REVERSE_INPUT_CHANNEL True", "data.channel_order", "RGB"),
        ("K400_MLP_S16x4", "BN.NORM_TYPE sync_batchnorm", "model.sync_bn", True),
        ("K400_MLP_S16x4", "TRAIN.CHECKPOINT_FILE_PATH x.pyth", "train.checkpoint_file_path", "x.pyth"),
        ("K400_MLP_S16x4", "SOLVER.CLIP_GRADIENT None", "solver.clip_grad_l2norm", None),
        ("K400_MLP_S16x4", "MIXUP.ENABLE False", "solver.label_smoothing", 0.0),
        ("SSV2_MLP_B32", "TRAIN.ENABLE False", "model.variant", "B"),  # a test starts from no weights
        ("K400_MLP_S16x4", "SOLVER.OPTIMIZING_METHOD sgd", "solver.optimizing_method", "sgd"),
        ("K400_MLP_S16x4", "SOLVER.OPTIMIZING_METHOD mt_adamw", "solver.optimizing_method", "adamw"),
        ("K400_MLP_S16x4", "SOLVER.BETAS (0.9,0.98)", "solver.betas", (0.9, 0.98)),
        ("K400_MLP_S16x4", "SOLVER.LAYER_DECAY 0.75", "solver.layer_decay", 0.75),
        ("K400_MLP_S16x4", "BN.USE_PRECISE_STATS True", "bn.use_precise_stats", True),
        ("K400_MLP_S16x4", "MODEL.ACT_CHECKPOINT True", "model.act_checkpoint", True),
    ],
)  # fmt: skip
def test_a_key_becomes_its_setting(name, overrides, key, value):
    section, field = key.split(".")
    assert getattr(getattr(released(name, overrides), section), field) == value


@pytest.mark.parametrize(
    ("num_gpus", "precision", "batch_size"), [("0", "fp32", 64), ("None", "auto", 64), ("4", "fp16", 16)]
)
def test_precision_and_test_batch_go_by_the_gpus(num_gpus, precision, batch_size):
    config = released("K400_MLP_S16x4", f"NUM_GPUS {num_gpus}")
    assert (config.train.precision, config.test.batch_size) == (precision, batch_size)


def test_what_a_file_does_not_say_has_pyslowfasts_default(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text("MODEL: {ARCH: mvit, MODEL_NAME: MViT}\nDATA: {TEST_CROP_SIZE: 224}")
    config = load_config(str(path), ["MODEL.NAME", "vast", "MODEL.VARIANT", "Ti"])
    assert (config.solver.max_epoch, config.solver.base_lr, config.solver.weight_decay) == (300, 0.1, 1e-4)
    solver = config.solver
    assert (solver.optimizing_method, solver.momentum, solver.dampening, solver.nesterov) == (
        "sgd", 0.9, 0, True,
    )  # fmt: skip
    assert (config.test.num_ensemble_views, config.test.num_spatial_crops) == (10, 3)
    assert (config.data.num_frames, config.data.sampling_rate, config.rng_seed) == (8, 8, 1)
    assert (config.solver.label_smoothing, config.solver.clip_grad_l2norm) == (0.0, None)


def test_a_key_without_effect_is_named_once_with_the_reason(caplog):
    released("SSV1_MLP_S16")
    lines = [record.getMessage() for record in caplog.records]
    path = str(RELEASED / "SSV1_MLP_S16.yaml")
    dead = sorted(line.removeprefix(f"{path}: ").split()[0] for line in lines if "has no effect" in line)
    assert dead == [
        "AUG.RE_SPLIT", "DATA.DECODING_BACKEND", "DATA.INPUT_CHANNEL_NUM",
        "DATA.PATH_LABEL_SEPARATOR", "DATA.SAMPLING_RATE", "MODEL.DROPOUT_RATE", "MORPH.PATCH_SIZE",
        "MORPH.TRANSITIONS", "MORPH.T_STRIDE",
    ]  # fmt: skip
    assert f"{path}: AUG.RE_SPLIT has no effect: PySlowFast itself reads it nowhere" in lines


@pytest.mark.parametrize(
    ("name", "overrides", "warning"),
    [
        ("K400_MLP_B16x4", "", "TEST.NUM_ENSEMBLE_VIEWS is not set and so PySlowFast's default, 10"),
        ("SSV1_MLP_S16", "", "add DATA.CHANNEL_ORDER BGR"),
        ("SSV1_MLP_S16", "", "TEST.NUM_SPATIAL_CROPS 1 is the centre crop here"),
        ("SSV1_MLP_S16", "DATA.RANDOM_FLIP True", "DATA.RANDOM_FLIP is not False, though ssv1 has classes"),
        ("K400_MLP_S16x4", "", "SOLVER.COSINE_AFTER_WARMUP stands there twice, with the same value"),
        ("K400_MLP_S16x4", "DATA.DECODING_BACKEND decord", "decord path takes every DATA.SAMPLING_RATE-th"),
        ("K400_MLP_S16x4", "SOLVER.ZERO_WD_1D_PARAM False", "biases and norms have no weight decay here"),
        ("K400_MLP_S16x4", "DATA.TRAIN_JITTER_SCALES_RELATIVE []", "crops frames of a random short side"),
        ("UNIFORMER_S16x4", "MODEL.NAME vast MODEL.VARIANT Ti", "its model (Uniformer) is left out"),
    ],
)
def test_what_would_surprise_is_said(caplog, name, overrides, warning):
    released(name, overrides)
    assert any(warning in record.getMessage() for record in caplog.records)


def test_a_cosine_that_begins_with_the_training_stays_one():
    assert released("K400_MLP_S16x4", "").solver.cosine_after_warmup
    assert not released("K400_MLP_S16x4", "SOLVER.COSINE_AFTER_WARMUP False").solver.cosine_after_warmup


def test_the_forks_protocol_is_not_warned_of_once_it_is_asked_for(caplog):
    config = released("SSV1_MLP_S16", "DATA.CHANNEL_ORDER BGR TEST.SINGLE_CROP first")
    assert (config.data.channel_order, config.test.single_crop) == ("BGR", "first")
    assert not any("SINGLE_CROP" in record.getMessage() for record in caplog.records)
    assert not any("CHANNEL_ORDER" in record.getMessage() for record in caplog.records)


def test_keys_without_effect_or_choice_are_no_settings_of_ours_and_the_same_are():
    own = set()
    for section, value in yaml.safe_load(dump_config(Config())).items():
        is_section = isinstance(value, dict)
        own |= {f"{section}.{key}" for key in value} if is_section else {section}
    assert set(SAME) <= own
    assert not {key for key in own if key in FIXED or reason_of_dead(key)}


def test_a_duplicate_key_with_two_values_is_refused(tmp_path):
    text = (RELEASED / "K400_MLP_S16x4.yaml").read_text()
    path = tmp_path / "twice.yaml"
    path.write_text(text.replace("COSINE_AFTER_WARMUP: True", "COSINE_AFTER_WARMUP: False", 1))
    with pytest.raises(UserError, match="SOLVER.COSINE_AFTER_WARMUP stands there twice, with two values"):
        load_config(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MODEL: {ARCH: morph, NAME: morphmlp}", "MODEL.NAME is a setting of this project, and other keys"),
        (
            "MODEL: {ARCH: morph}\nMORPH: {LAYER: [3]}",
            r"unknown key MORPH.LAYER .*Did you mean MORPH.LAYERS\?",
        ),
        ("MODEL: {ARCH: morph}\nTRAIN: {BATCHSIZE: 3}", r"Did you mean TRAIN.BATCH_SIZE\?"),
    ],
)
def test_a_wrong_key_is_answered_with_the_nearest(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(str(path))


def test_what_a_file_became_is_read_back_to_the_same(tmp_path):
    config = released("SSV2_MLP_S16")
    path = tmp_path / "ours.yaml"
    path.write_text(dump_config(config))
    assert load_config(str(path)) == config


def test_print_config_shows_what_a_file_became(main, capsys):
    path = RELEASED / "K400_MLP_S16x4.yaml"
    assert main(["--cfg", str(path), "--print-config", "MORPH.DROP_DEPTH_RATE", "0.2"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["MODEL"]["ARGS"] == {"drop_path": 0.2}
    assert shown["SOLVER"]["CLIP_GRAD_L2NORM"] == 20.0
    assert shown["OUTPUT_DIR"] == "output/released/K400_MLP_S16x4"
