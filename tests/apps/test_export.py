"""Exported models: the logits of the checkpoint, from a file that needs none of this package."""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from slowfast_mlp import models
from slowfast_mlp.apps.export import Deployed, export, read_facts, runner, write
from slowfast_mlp.apps.predict.load import load
from slowfast_mlp.data.datasets.synthetic import CLASSES
from slowfast_mlp.data.device_transform import scale_and_shift
from slowfast_mlp.data.video_io.encode import write_video
from slowfast_mlp.errors import UserError
from slowfast_mlp.registry import find_module
from tests.conftest import ROOT, main_of
from tests.models.test_every_model import TINY


@pytest.fixture(scope="session")
def predictor(checkpoint):
    return load(checkpoint, device="cpu")


@pytest.fixture(scope="session")
def onnx_folder(predictor, tmp_path_factory):
    """A folder with the model.onnx of the checkpoint."""
    folder = tmp_path_factory.mktemp("onnx")
    export(predictor, str(folder / "model.onnx"), max_difference=1e-4, num_rounds=0)
    return folder


def examples():
    """The code of docs/export.md: to load ONNX, to make a clip for it, to load a program."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)


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
    assert facts["view"] == asdict(predictor.view_format)
    (example,) = [code for code in examples() if Path(path).name in code]
    monkeypatch.chdir(Path(path).parent)
    variables = {}
    exec(example, variables)
    assert len(variables["logits"][0]) == len(CLASSES)


@pytest.mark.parametrize(
    "words",
    [
        "DATA.SAMPLING_RATE 2",
        "DATA.SAMPLING segments DATA.CHANNEL_ORDER BGR",
        "DATA.USE_OFFSET_SAMPLING False DATA.TEST_INTERPOLATION bicubic DATA.TEST_SHORT_SIZE 40",
        "TEST.SINGLE_CROP first DATA.TARGET_FPS 20",
    ],
)
def test_the_example_of_the_documentation_makes_of_a_video_what_the_test_makes_of_it(
    checkpoint, onnx_folder, tmp_path, monkeypatch, words
):
    one_view = ["TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1"]
    predictor = load(checkpoint, device="cpu", overrides=[*one_view, *words.split()])
    load_file, make_clip, _ = examples()
    variables = {}
    monkeypatch.chdir(onnx_folder)
    exec(load_file, variables)
    # The same weights with other facts: an export of each would take most of the time.
    variables["facts"] |= {
        "view": asdict(predictor.view_format),
        "channel_order": predictor.clip_format.channel_order,
    }
    time, row, column = (
        torch.arange(n).reshape(s) for n, s in ((38, (-1, 1, 1)), (48, (-1, 1)), (96, (-1,)))
    )
    red, green, blue = (
        5 * row + 0 * column + 0 * time,
        2 * column + 0 * row + 0 * time,
        6 * time + row + column,
    )
    frames = torch.stack([red, green, blue], dim=-1).clamp(0, 255).to(torch.uint8)  # T H W 3
    write_video(tmp_path / "clip.mp4", frames, fps=30, options={"g": "12"}, codec="libx264")
    monkeypatch.chdir(tmp_path)
    exec(make_clip, variables)
    expected = predictor.predict("clip.mp4").scores
    assert torch.allclose(torch.from_numpy(variables["logits"][0]).double(), expected, atol=1e-5)


def test_several_clips_and_crops_are_among_the_facts(predictor):
    assert predictor.view_format.num_clips == 2
    assert (predictor.view_format.crop, predictor.view_format.short_size) == ("three", 32)


def test_without_the_packages_of_onnx_the_words_for_pip_are_given(predictor, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        UserError, match="ONNX needs onnxscript: pip install onnxscript; or end the file in .pt2"
    ):
        export(predictor, str(tmp_path / "model.onnx"), max_difference=1e-4)


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
