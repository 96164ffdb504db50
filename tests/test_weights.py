"""Weights of every family: each wrapping, image to video, other class counts, and conversion."""

import hashlib

import pytest
import torch

from slowfast_mlp.builders import model as model_builder
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.config.schema import Model
from slowfast_mlp.errors import UserError
from tests.conftest import main_of

SMALL = dict(depths=[1, 1, 1, 1], dims=[8, 16, 32, 64])
# Name -> variant, arguments that make it small, and those of a video model that answers a still clip as its
# image model does.
FAMILIES = {
    "morphmlp": ("Nano", SMALL, {}),
    "posmlp_video": ("Nano", {**SMALL, "num_groups": [2, 4, 8, 16]}, {}),
    "vast": ("Nano", SMALL, {"shift_time": False}),
    "mobile_former": ("26M", {}, {"temporal_std": 0.0}),
}
CROP_SIZE = 64


def section(name, num_classes=5, **arguments):
    variant, small, _ = FAMILIES[name]
    return Model(name=name, variant=variant, num_classes=num_classes, args={**small, **arguments})


def built(name, num_frames, num_classes=5, **arguments):
    torch.manual_seed(num_frames)
    model = section(name, num_classes, **arguments)
    net = model_builder.model(model, num_frames=num_frames, crop_size=CROP_SIZE, test_crop_size=CROP_SIZE)
    return model, net.eval()


@pytest.mark.parametrize(
    "wrapping", ["flat", "model_state", "state_dict", "state_dict_ema", "model", "module."]
)
@pytest.mark.parametrize("name", FAMILIES)
def test_weights_load_in_every_wrapping(tmp_path, name, wrapping):
    _, source = built(name, 4)
    weights = source.state_dict()
    prefixed = {f"module.{key}": value for key, value in weights.items()}
    contents = {"flat": weights, "module.": prefixed}.get(wrapping, {"epoch": 3, wrapping: weights})
    torch.save(contents, tmp_path / "w.pth")
    model, target = built(name, 4)
    with torch.no_grad():
        for parameter in target.parameters():
            parameter.zero_()
    report = model_builder.start_weights(model, target, str(tmp_path / "w.pth"))
    assert (report.missing, report.unexpected, report.misshapen) == ((), (), ())
    assert all(torch.equal(value, weights[key]) for key, value in target.state_dict().items())


@pytest.mark.parametrize("name", FAMILIES)
def test_an_image_checkpoint_starts_a_video_model(tmp_path, name, caplog):
    _, image = built(name, 1)
    torch.save(image.state_dict(), tmp_path / "image.pth")
    model, video = built(name, 4, **FAMILIES[name][2])
    with caplog.at_level("INFO"):
        report = model_builder.start_weights(model, video, str(tmp_path / "image.pth"))
    assert (report.unexpected, report.misshapen) == ((), ())
    if name != "vast" or report.missing:
        assert "holds an image model: inflated for video" in caplog.text
    if name == "morphmlp":
        return  # equal but for the zero frame that its stem pads; tests/models/test_morphmlp.py
    picture = torch.randn(1, 3, 1, CROP_SIZE, CROP_SIZE)
    with torch.no_grad():
        still = video(picture.expand(-1, -1, 4, -1, -1))
        assert torch.allclose(still, image(picture), atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_another_class_count_leaves_the_head_to_be_learnt(tmp_path, name, caplog):
    _, source = built(name, 4)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model, target = built(name, 4, num_classes=7)
    report = model_builder.start_weights(model, target, str(tmp_path / "w.pth"))
    assert len(report.missing) == 2
    assert "was trained on 5 classes, not MODEL.NUM_CLASSES 7: its head is left out" in caplog.text


@pytest.mark.parametrize("name", FAMILIES)
def test_a_foreign_checkpoint_is_refused_with_a_report(tmp_path, name):
    torch.save({"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}, tmp_path / "w.pth")
    model, target = built(name, 4)
    with pytest.raises(
        UserError, match=r"does not fit this model: 0 entries loaded; .*2 unexpected \(conv1.weight"
    ):
        model_builder.start_weights(model, target, str(tmp_path / "w.pth"))


def test_index_buffers_of_the_authors_are_left_out(tmp_path):
    _, source = built("posmlp_video", 4)
    weights = source.state_dict()
    weights["blocks1.0.fc.encoder.gate_unit.pos.window_relative_position_index"] = torch.zeros(
        4, dtype=torch.long
    )
    torch.save(weights, tmp_path / "w.pth")
    model, target = built("posmlp_video", 4)
    assert model_builder.start_weights(model, target, str(tmp_path / "w.pth")).unexpected == ()


def test_position_tables_are_resampled_for_other_frame_counts(tmp_path):
    _, source = built("posmlp_video", 4, table_init="trunc_normal")
    torch.save(source.state_dict(), tmp_path / "w.pth")
    model, target = built("posmlp_video", 8)
    report = model_builder.start_weights(model, target, str(tmp_path / "w.pth"))
    assert report.misshapen == () == report.missing


@pytest.fixture(scope="module")
def convert():
    """The main function of tools/convert_checkpoint.py."""
    return main_of("convert_checkpoint")


def test_a_converted_checkpoint_is_ours_and_told_by_its_hash(tmp_path, convert, capsys):
    _, source = built("morphmlp", 4)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "theirs.pth")
    config = tmp_path / "tiny.yaml"
    config.write_text(
        "DATA: {NUM_FRAMES: 4, TRAIN_CROP_SIZE: 64, TEST_CROP_SIZE: 64}\n"
        "MODEL: {NAME: morphmlp, VARIANT: Nano, NUM_CLASSES: 5,"
        " ARGS: {dims: [8, 16, 32, 64], depths: [1, 1, 1, 1]}}"
    )
    words = [str(tmp_path / "theirs.pth"), str(tmp_path / "ours.pyth"), "--cfg", str(config)]
    assert convert([*words, "RNG_SEED", "3"]) == 0
    printed = capsys.readouterr().out
    digest = hashlib.sha256((tmp_path / "ours.pyth").read_bytes()).hexdigest()
    assert f"sha256 {digest}" in printed and "entries loaded" in printed
    contents = checkpoint.read(str(tmp_path / "ours.pyth"))
    assert set(contents) == {"model_state", "cfg"} and "RNG_SEED: 3" in contents["cfg"]
    assert torch.equal(contents["model_state"]["head.weight"], source.head.weight)
    assert convert(words) == 1
    assert "exists already" in capsys.readouterr().err
