"""Exported models: the logits of the checkpoint, from a file that needs none of this package."""

import json
import re
from pathlib import Path

import pytest
import torch

from slowfast_mlp import models
from slowfast_mlp.data.datasets.synthetic import CLASSES
from slowfast_mlp.data.to_input import scale_and_shift
from slowfast_mlp.errors import UserError
from slowfast_mlp.export import Deployed, export, read_facts, runner, write
from slowfast_mlp.lookup import find_module
from slowfast_mlp.predict.load import load
from tests.conftest import ROOT, main_of
from tests.models.test_every_model import TINY


@pytest.fixture(scope="session")
def predictor(checkpoint):
    return load(checkpoint, device="cpu")


def test_an_onnx_file_gives_the_logits_of_the_test_for_pixels_of_any_batch(
    checkpoint, predictor, tmp_path, capsys, monkeypatch
):
    path = str(tmp_path / "new" / "model.onnx")
    assert main_of("export")([checkpoint, path, "--rounds", "0", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["path"], said["latency_ms"]) == (path, {})
    assert said["max_difference"] < 1e-5
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["model.onnx"]
    demand_logits(path, predictor, monkeypatch)


def demand_logits(path, predictor, monkeypatch):
    """That a file gives the model's logits, for a batch of 5, says what it is, and works in the example of
    docs/export.md that names it.
    """
    clips = torch.randint(0, 256, (5, *predictor.clip_format.shape), dtype=torch.uint8)
    with torch.inference_mode():
        # As a test makes its input: of 0 to 1, less 0.45, over 0.225.
        expected = predictor.model((clips / 255 - 0.45) / 0.225)
    assert torch.allclose(runner(path)(clips), expected, atol=1e-5)
    facts = read_facts(path)
    assert facts["label_names"] == list(CLASSES)
    assert facts["clip_shape"] == list(clips.shape[1:])
    assert facts["channel_order"] == "RGB"
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    (example,) = [code for code in examples if Path(path).name in code]
    monkeypatch.chdir(Path(path).parent)
    variables = {}
    exec(example, variables)
    assert len(variables["logits"][0]) == len(CLASSES)


def test_a_file_that_differs_too_much_is_not_left_behind(predictor, tmp_path):
    with pytest.raises(UserError, match=r"differ from the model's by .*, more than --max-difference -1"):
        export(predictor, str(tmp_path / "model.pt2"), max_difference=-1, num_rounds=0)
    assert list(tmp_path.iterdir()) == []


def test_another_ending_or_a_place_that_cannot_be_written_is_refused(predictor, tmp_path):
    with pytest.raises(UserError, match=r"model.pth: end it in .onnx or .pt2"):
        export(predictor, str(tmp_path / "model.pth"), max_difference=1e-4)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written .*Choose another place"):
        export(predictor, str(tmp_path / "file" / "model.pt2"), max_difference=1e-4)


def test_the_tool_writes_a_program_and_says_how_it_compares(
    checkpoint, predictor, tmp_path, capsys, monkeypatch
):
    words = [checkpoint, str(tmp_path / "model.pt2"), "--no-compile", "--rounds", "1"]
    assert main_of("export")(words) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith(words[1]) and "MiB, logits within" in first
    assert [row.split()[0] for row in rows] == ["eager", "torch.export"]
    demand_logits(words[1], predictor, monkeypatch)
    assert main_of("export")([str(tmp_path / "none.pyth"), words[1]]) == 2
    assert "none.pyth" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
@pytest.mark.parametrize("name", sorted(TINY))
def test_every_backbone_can_be_exported(name, ending, tmp_path):
    arguments = TINY[name]["arguments"]
    net = find_module(models, name, "MODEL.NAME").MODEL(num_classes=5, **arguments)
    scale, shift = scale_and_shift((0.45,) * 3, (0.225,) * 3)
    model = Deployed(net.eval(), scale=scale, shift=shift).eval()
    size = arguments["crop_size"]
    shape = (3, arguments["num_frames"], size, size)
    path = str(tmp_path / f"model{ending}")
    assert write(model, path, clip_shape=shape, facts={}, max_difference=1e-4) <= 1e-4


@pytest.mark.gpu
def test_a_predictor_on_a_gpu_predicts_on_after_it_was_exported(checkpoint, corpus, tmp_path):
    video = str(next((corpus / "test").glob("*.mp4")))
    on_gpu = load(checkpoint, device="cuda")
    before = on_gpu.predict(video).scores
    export(on_gpu, str(tmp_path / "model.pt2"), max_difference=1e-4, num_rounds=0)
    assert torch.allclose(on_gpu.predict(video).scores, before)
