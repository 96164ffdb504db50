"""The runs that show that a model uses time: run small here, and in full by tools/dev/shuffle_control.py."""

import pytest

from slowfast_mlp.apps.shuffle_control import Learning, markdown
from tests.conftest import main_of


@pytest.fixture
def tool():
    """The main function of tools/dev/shuffle_control.py."""
    return main_of("dev/shuffle_control")


@pytest.mark.parametrize(
    ("top1", "shuffled", "expected"),
    [(90.0, 59.9, True), (89.9, 50.0, False), (100.0, 60.0, False)],
)
def test_a_model_uses_time_when_it_learns_and_its_control_does_not(top1, shuffled, expected):
    assert Learning(config="x", top1=top1, top1_shuffled=shuffled).uses_time is expected


def test_the_table_names_config_and_both_accuracies():
    rows = [Learning(config="A", top1=99.375, top1_shuffled=50.0)]
    assert markdown(rows).splitlines()[-1] == "| A.yaml | 99.4 % | 50.0 % |"


def test_the_tool_runs_a_config_and_its_control_and_fails_a_model_that_learnt_nothing(
    tool, tmp_path, corpus, capsys
):
    (tmp_path / "tiny.yaml").write_text(
        "DATA: {NUM_FRAMES: 4, TRAIN_CROP_SIZE: 32, TEST_CROP_SIZE: 32, TEST_SHORT_SIZE: 32}\n"
        "MODEL: {NAME: vast, VARIANT: Nano, NUM_CLASSES: 8}\n"
        "TRAIN: {BATCH_SIZE: 4, PRECISION: fp32}\nSOLVER: {MAX_EPOCH: 1, BASE_LR: 0}\nNUM_GPUS: 0\n"
        "TENSORBOARD: {ENABLE: False}\n"
    )
    words = ["--cfg", str(tmp_path / "tiny.yaml"), "--output-dir", str(tmp_path / "out")]
    status = tool([*words, "--opts", "DATA.PATH_TO_DATA_DIR", str(corpus)])
    out = capsys.readouterr().out
    assert status == 1
    assert "FRAMES SHUFFLED (control)" in (tmp_path / "out" / "tiny_shuffled" / "stdout.log").read_text()
    assert "FRAMES SHUFFLED" not in (tmp_path / "out" / "tiny" / "stdout.log").read_text()
    assert out.splitlines()[-1].startswith("| tiny.yaml | ")


def test_a_config_that_does_not_exist_is_answered_in_one_line(tool, tmp_path, capsys):
    assert tool(["--cfg", str(tmp_path / "no.yaml"), "--output-dir", str(tmp_path)]) == 1
    assert "no.yaml" in capsys.readouterr().err
