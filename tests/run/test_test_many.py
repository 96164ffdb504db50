"""Several models on the same views: every one gets what a test of its own gives."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from slowfast_mlp.config.diff import TEST, VIEWS, describe_settings
from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.errors import UserError
from slowfast_mlp.log.metrics_file import last_metrics
from slowfast_mlp.run.main import run
from slowfast_mlp.run.setup import build_model
from slowfast_mlp.run.test_many import run_tests

CPU = torch.device("cpu")
POSMLP = ("MODEL.NAME", "posmlp_video", "MODEL.VARIANT", "Nano", "MODEL.ARGS", "{}")
NO_TRAINING = ("TRAIN.ENABLE", "False")


def views(config):
    return describe_settings(config, VIEWS)


def settings_of(config):
    return describe_settings(config, *TEST)


@pytest.fixture
def weights(configure, tmp_path):
    """Writes the weights that a config's model starts with, and gives the overrides that test them."""

    def weights(name, *overrides):
        config = configure(*overrides)
        path = tmp_path / f"{name}.pyth"
        model = build_model(config.model, config.data, config.rng_seed, CPU)
        torch.save({"model_state": model.state_dict()}, path)
        return (*NO_TRAINING, *overrides, "TEST.CHECKPOINT_FILE_PATH", str(path))

    return weights


def test_models_tested_together_predict_byte_for_byte_what_each_does_alone(
    configure, weights, tmp_path, corpus, capsys
):
    words = {
        "morphmlp": weights("morphmlp"),
        "posmlp": (*weights("posmlp", *POSMLP), "TEST.ENSEMBLE", "probs"),
    }
    for name, overrides in words.items():
        run(configure(*overrides, out=f"alone_{name}"))
    capsys.readouterr()
    run_tests([configure(*overrides, out=f"together_{name}") for name, overrides in words.items()])
    for name in words:
        alone, together = tmp_path / f"alone_{name}", tmp_path / f"together_{name}"
        assert {path.name for path in alone.iterdir()} == {path.name for path in together.iterdir()}
        assert (alone / "predictions.csv").read_bytes() == (together / "predictions.csv").read_bytes()
        assert last_metrics(str(alone), "test") == last_metrics(str(together), "test")
    both = [(tmp_path / f"together_{name}" / "predictions.csv").read_bytes() for name in words]
    assert both[0] != both[1]
    printed = capsys.readouterr().out
    assert printed.count("batch 4/4") == 1  # the views were made once
    assert "2 models see the same clips" in printed


def test_two_processes_together_predict_byte_for_byte_what_one_does(configure, weights, tmp_path):
    words = {"morphmlp": weights("morphmlp"), "posmlp": weights("posmlp", *POSMLP)}
    short = ("TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1", "DATA_LOADER.NUM_WORKERS", "0")
    for processes in (1, 2):
        configs = [
            configure(*overrides, *short, "TEST.BATCH_SIZE", "2", out=f"{name}_{processes}")
            for name, overrides in words.items()
        ]
        launch(partial(run_tests, configs), num_gpus=0, processes=processes)
    for name in words:
        one, two = (tmp_path / f"{name}_{processes}" / "predictions.csv" for processes in (1, 2))
        assert one.read_bytes() == two.read_bytes()


def test_a_checkpoint_that_does_not_fit_is_named_before_anything_is_decoded(configure, weights, tmp_path):
    posmlp = weights("posmlp", *POSMLP)
    wrong = (*NO_TRAINING, *posmlp[-2:])  # PosMLP's weights for MorphMLP
    with pytest.raises(UserError, match="posmlp.pyth does not fit this model"):
        run_tests([configure(*posmlp, out="right"), configure(*wrong, out="wrong")])
    assert not (tmp_path / "right" / "predictions.csv").exists()


def test_tests_share_their_views_whatever_the_model_and_the_training(configure):
    expected = views(configure())
    for same in (
        POSMLP,
        ("TEST.ENSEMBLE", "probs"),
        ("SOLVER.BASE_LR", "1"),
        ("DATA.TRAIN_JITTER_ASPECT_RELATIVE", "[0.67, 1.5]"),
        ("DATA.RANDOM_FLIP", "True"),
        ("DATA_LOADER.NUM_WORKERS", "7"),
    ):
        assert views(configure(*same)) == expected, same
    for other in (
        ("DATA.NUM_FRAMES", "8"),
        ("DATA.SAMPLING_RATE", "2"),
        ("DATA.CHANNEL_ORDER", "BGR"),
        ("DATA.TEST_SHORT_SIZE", "40"),
        ("DATA.PATH_PREFIX", "elsewhere"),
        ("TEST.NUM_SPATIAL_CROPS", "1"),
        ("TEST.NUM_ENSEMBLE_VIEWS", "3"),
        ("TEST.SINGLE_CROP", "first"),
        ("TEST.BATCH_SIZE", "6"),
        ("TRAIN.PRECISION", "bf16"),
        ("TRAIN.DATASET", "synthetic"),
    ):
        assert views(configure(*other)) != expected, other


def test_the_settings_of_a_test_are_those_that_its_figures_depend_on(configure):
    config = configure()
    settings = settings_of(config)
    for same in (
        replace(config, output_dir="elsewhere"),
        configure("SOLVER.MAX_EPOCH", "5"),
        configure("TEST.CHECKPOINT_FILE_PATH", "other.pyth"),  # whose checksum says what is in it
        configure("TEST.MAX_FAILED_FRACTION", "1"),
    ):
        assert settings_of(same) == settings
    for other in (("TEST.ENSEMBLE", "probs"), ("MODEL.ARGS.dims", "[8, 16, 32, 96]"), ("RNG_SEED", "1")):
        assert settings_of(configure(*other)) != settings, other


def test_configs_that_ask_for_different_views_are_not_tested_together(configure):
    with pytest.raises(ValueError, match="do not ask for the same views"):
        run_tests([configure(*NO_TRAINING), configure(*NO_TRAINING, "DATA.CHANNEL_ORDER", "BGR")])
