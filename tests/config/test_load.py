"""Settings from YAML and overrides: every legal and illegal form."""

import pytest
import yaml

from slowfast_mlp.config.load import dump_config, load_config, override
from slowfast_mlp.errors import UserError


@pytest.fixture
def load(tmp_path):
    """Loads a config whose file holds the text, with overrides as words."""

    def load(text: str = "LOG_PERIOD: 7", overrides: str = ""):
        (tmp_path / "this.yaml").write_text(text)
        return load_config(str(tmp_path / "this.yaml"), overrides.split())

    return load


def test_a_base_is_read_first_and_overridden(tmp_path, load):
    (tmp_path / "base.yaml").write_text("SOLVER: {BASE_LR: 1, MAX_EPOCH: 3}\nRNG_SEED: 5")
    config = load("_BASE_: base.yaml\nSOLVER: {MAX_EPOCH: 4}")
    assert (config.solver.base_lr, config.solver.max_epoch, config.rng_seed) == (1.0, 4, 5)


@pytest.mark.parametrize("written", ["2e-4", "0.0002", "2.0e-4", "'2e-4'"])
def test_a_number_is_a_float_because_the_schema_says_so(load, written):
    assert load(f"SOLVER: {{BASE_LR: {written}}}").solver.base_lr == 0.0002
    assert load(overrides=f"SOLVER.BASE_LR {written}").solver.base_lr == 0.0002


def test_a_whole_number_becomes_a_float(load):
    value = load(overrides="SOLVER.WARMUP_EPOCHS 5").solver.warmup_epochs
    assert value == 5.0 and isinstance(value, float)


def test_a_float_becomes_an_int_only_when_integral(load):
    value = load(overrides="SOLVER.MAX_EPOCH 1e1").solver.max_epoch
    assert value == 10 and isinstance(value, int)
    with pytest.raises(UserError, match=r"SOLVER.MAX_EPOCH 2.5: give a whole number"):
        load(overrides="SOLVER.MAX_EPOCH 2.5")


@pytest.mark.parametrize("written", ["None", "null", "~"])
def test_none_is_written_as_in_pyslowfast(load, written):
    text = "SOLVER: {CLIP_GRAD_L2NORM: 20}"
    assert load(text).solver.clip_grad_l2norm == 20.0
    assert load(text, f"SOLVER.CLIP_GRAD_L2NORM {written}").solver.clip_grad_l2norm is None
    assert load(f"SOLVER: {{CLIP_GRAD_L2NORM: {written}}}").solver.clip_grad_l2norm is None


@pytest.mark.parametrize("written", ["[0.1,0.2,1]", "(0.1,0.2,1)", "(0.1,0.2,1,)"])
def test_lists_and_tuples_are_lists(load, written):
    assert load(overrides=f"DATA.MEAN {written}").data.mean == (0.1, 0.2, 1.0)


def test_arguments_of_a_backbone_merge_key_by_key(load):
    text = "MODEL: {ARGS: {drop_path: 0.1, temporal_init: untied}}"
    assert load(text, "MODEL.ARGS.drop_path 2e-1").model.args == {"drop_path": 0.2, "temporal_init": "untied"}
    assert override(load(text), ["MODEL.ARGS", "{drop_path: 3e-1}"]).model.args == {"drop_path": 0.3}


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (
            "TRAIN: {BATCHSIZE: 4}",
            "",
            r"this.yaml: unknown key TRAIN.BATCHSIZE. Did you mean TRAIN.BATCH_SIZE\?",
        ),
        ("SOLVR: {BASE_LR: 4}", "", r"unknown key SOLVR. Did you mean SOLVER\?"),
        ("A: 1", "DATA.BATCH_SIZE 4", r"unknown key A"),
        (
            "RNG_SEED: 1",
            "DATA.BATCH_SIZE 4",
            r"unknown key DATA.BATCH_SIZE. Did you mean (TRAIN|TEST).BATCH_SIZE\?",
        ),
        (
            "RNG_SEED: 1",
            "train.batch_size 4",
            r"unknown key train.batch_size. Did you mean TRAIN.BATCH_SIZE\?",
        ),
        ("RNG_SEED: 1", "TRAIN 4", r"TRAIN is a section; give one of its keys"),
        ("RNG_SEED: 1", "RNG_SEED.X 4", r"unknown key RNG_SEED.X"),
        ("TRAIN: 4", "", r"TRAIN is a section"),
        ("TRAIN: {BATCH_SIZE: many}", "", r"TRAIN.BATCH_SIZE 'many': give a whole number"),
        ("TRAIN: {BATCH_SIZE: 0}", "", r"TRAIN.BATCH_SIZE 0: give 1 or more"),
        ("TRAIN: {ENABLE: 1}", "", r"TRAIN.ENABLE 1: give True or False"),
        ("TRAIN: {PRECISION: fp64}", "", r"TRAIN.PRECISION 'fp64': use one of auto, fp32, bf16, fp16"),
        ("DATA: {STD: [0.2, 0, 0.2]}", "", r"DATA.STD .*: give more than 0"),
        ("DATA: {MEAN: 3}", "", r"DATA.MEAN 3: give a list"),
        ("DATA: {MEAN: [1, 2]}", "", r"DATA.MEAN .*give 3 numbers"),
        ("MODEL: {ARGS: 3}", "", r"MODEL.ARGS 3: give a dictionary"),
        ("SOLVER: {BASE_LR: .nan}", "", r"SOLVER.BASE_LR nan: give 0 or more"),
        ("SOLVER: {MAX_EPOCH: .inf}", "", r"SOLVER.MAX_EPOCH inf: give a whole number"),
        ("TEST: {NUM_SPATIAL_CROPS: 2}", "", r"use 1 \(centre\) or 3"),
        ("DATA: {TEST_SHORT_SIZE: 200}", "", r"TEST_SHORT_SIZE 200 is below"),
        ("RNG_SEED: 1", "LOG_PERIOD", r"'LOG_PERIOD' has no value"),
        ("RNG_SEED: 1", "LOG_PERIOD=3", r"Write it with a blank: LOG_PERIOD 3"),
        ("RNG_SEED: 1\nRNG_SEED: 2", "", r"RNG_SEED stands there twice, with two values \(lines 1 and 2\)"),
        ("SOLVER: {BASE_LR: 1, BASE_LR: 2}", "", r"SOLVER.BASE_LR stands there twice"),
        ("a: [", "", r"is not YAML"),
        ("", "", r"has no settings"),
        ("_BASE_: nowhere.yaml", "", r"its _BASE_ .*nowhere.yaml' does not exist"),
        ("_BASE_: this.yaml", "", r"_BASE_ leads back to the file itself"),
        ("RNG_SEED: 99999999999", "", r"RNG_SEED 99999999999: give 0 or more and at most"),
        ("DATA: {PATH_LABEL_SEPARATOR: ''}", "", r"DATA.PATH_LABEL_SEPARATOR ''"),
        ("DATA: {MEAN: !!python/tuple [1, 2, 3]}", "", r"is not plain YAML"),
        ("? [a, b]\n: 1", "", r"is not plain YAML"),
        ("LOG_PERIOD: 2026-13-45", "", r"is not plain YAML"),
        ("SHARD_ID: 1", "", r"SHARD_ID 1: with NUM_SHARDS 1 give 0 to 0"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(load, text, overrides, message):
    with pytest.raises(UserError, match=message):
        load(text, overrides)


def test_a_duplicate_key_with_one_value_passes_with_a_warning(load, caplog):
    assert load("SOLVER: {BASE_LR: 1, BASE_LR: 1}").solver.base_lr == 1.0
    assert "SOLVER.BASE_LR stands there twice, with the same value" in caplog.text


def test_a_file_that_is_no_text_is_named(load, tmp_path):
    (tmp_path / "this.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"this.yaml is not YAML"):
        load_config(str(tmp_path / "this.yaml"))


def test_none_is_none_inside_arguments(load):
    assert load("MODEL: {ARGS: {chunk_lens: None}}").model.args == {"chunk_lens": None}
    assert load(overrides="MODEL.ARGS.chunk_lens None").model.args == {"chunk_lens": None}
    assert load(overrides="MODEL.ARGS.gate none").model.args == {"gate": "none"}


def test_a_file_that_does_not_exist_names_its_neighbours(load, tmp_path):
    load()
    with pytest.raises(
        UserError, match=r"No config file '.*thsi.yaml'.*holds this.yaml. Did you mean this.yaml\?"
    ):
        load_config(str(tmp_path / "thsi.yaml"))
    with pytest.raises(UserError, match="There is no folder"):
        load_config(str(tmp_path / "nowhere" / "this.yaml"))


def test_the_output_folder_is_named_after_the_file(load, tmp_path):
    assert load().output_dir == f"output/{tmp_path.name}/this"
    assert load(overrides="OUTPUT_DIR x").output_dir == "x"
    assert load(overrides="OUTPUT_DIR 2024").output_dir == "2024"
    assert load(overrides="TEST.DATASET None").test.dataset is None


def test_a_dumped_config_loads_to_the_same(load, tmp_path):
    config = load(
        "SOLVER: {BASE_LR: 1e-5, CLIP_GRAD_L2NORM: 3}\nMODEL: {ARGS: {dims: [4, 8, 8, 8]}}\nNUM_GPUS: 0"
    )
    text = dump_config(config)
    assert load(text) == config
    assert set(yaml.safe_load(text)["DATA"]) >= {"NUM_FRAMES", "PATH_LABEL_SEPARATOR"}


def test_a_config_cannot_be_changed(load):
    with pytest.raises(AttributeError):
        load().solver.base_lr = 1.0
