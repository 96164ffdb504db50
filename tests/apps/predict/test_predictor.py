"""What is predicted: the scores of the test, for whole videos; the same for windows that slide."""

import csv
import re
import subprocess
import sys

import pytest
import torch

import slowfast_mlp
from slowfast_mlp.data.datasets.synthetic import CLASSES
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.stream import Stream
from slowfast_mlp.errors import UserError
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def predictor(checkpoint):
    return slowfast_mlp.load(checkpoint, device="cpu")


def test_the_scores_are_those_of_the_test(predictor, run_folder):
    with (run_folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    predictions = list(predictor.predict_all([Record(row["path"], 0) for row in rows]))
    assert len(rows) == len(predictions) == 7
    assert len({row["score1"] for row in rows}) == 7
    for row, prediction in zip(rows, predictions):
        top = prediction.top(5)
        assert (prediction.path, prediction.num_views, prediction.failure) == (row["path"], 6, "")
        assert [best.label for best in top] == [int(row[f"class{n}"]) for n in range(1, 6)]
        assert [best.score for best in top] == pytest.approx(
            [float(row[f"score{n}"]) for n in range(1, 6)], abs=1e-5
        )
        assert top[0].name == row["class1_name"] == CLASSES[top[0].label]
        assert top[0].probability == pytest.approx(float(row["probability1"]), abs=1e-5)


def test_one_video_alone_scores_as_among_others(predictor, run_folder):
    with (run_folder / "predictions.csv").open() as file:
        row = list(csv.DictReader(file))[3]
    prediction = predictor.predict(row["path"])
    assert prediction.top(1)[0].score == pytest.approx(float(row["score1"]), abs=1e-5)
    assert prediction.probabilities.sum().item() == pytest.approx(1)
    assert torch.equal(prediction.scores.argsort(), prediction.probabilities.argsort())


def test_averaged_weights_are_taken_where_the_checkpoint_has_them(checkpoint, tmp_path, write_numbered):
    contents = torch.load(checkpoint, weights_only=True)
    average = {name: value.clone() for name, value in contents["model_state"].items()}
    average["head.bias"] += torch.arange(8) * 100.0
    torch.save({**contents, "ema_state": {"weights": average, "num_updates": 3}}, tmp_path / "averaged.pyth")
    video = write_numbered("a.mp4", 40)
    plain, averaged = (
        slowfast_mlp.load(path, device="cpu").predict(video).scores
        for path in (checkpoint, str(tmp_path / "averaged.pyth"))
    )
    assert (averaged - plain).tolist() == pytest.approx([0, 100, 200, 300, 400, 500, 600, 700], abs=1e-3)


def test_averaged_probabilities_are_shown_as_they_are(checkpoint, write_numbered):
    predictor = slowfast_mlp.load(checkpoint, overrides=["TEST.ENSEMBLE", "probs"], device="cpu")
    prediction = predictor.predict(write_numbered("a.mp4", 40))
    assert torch.equal(prediction.scores, prediction.probabilities)
    assert prediction.scores.sum().item() == pytest.approx(1)


def test_a_window_slides_to_the_end_of_the_video(predictor, write_numbered):
    windows = list(predictor.slide(write_numbered("a.mp4", 43), stride_sec=0.4))
    # A clip of 4 frames at rate 4 spans 16 frames of 30 a second; 0.4 s are 12 frames.
    frames = [(round(window.start_sec * 30), round(window.end_sec * 30)) for window in windows]
    assert frames == [(0, 16), (12, 28), (24, 40), (27, 43)]
    assert {window.num_views for window in windows} == {3}
    assert len({tuple(window.scores.tolist()) for window in windows}) == 4


def test_without_a_stride_windows_overlap_by_half(predictor, write_numbered):
    windows = list(predictor.slide(write_numbered("a.mp4", 32)))
    assert [round(window.start_sec * 30) for window in windows] == [0, 8, 16]


def test_a_window_over_the_whole_video_says_what_a_test_with_one_clip_does(checkpoint, write_numbered):
    predictor = slowfast_mlp.load(checkpoint, overrides=["TEST.NUM_ENSEMBLE_VIEWS", "1"], device="cpu")
    for num_frames in (16, 9, 1):
        path = write_numbered(f"{num_frames}.mp4", num_frames)
        (window,) = predictor.slide(path)
        assert window.scores.tolist() == pytest.approx(predictor.predict(path).scores.tolist(), abs=1e-6)


def test_a_generated_stream_is_predicted_like_a_file(predictor):
    windows = list(predictor.slide(Stream("lavfi:testsrc=duration=1:size=64x48:rate=30"), stride_sec=0.2))
    frames = [(round(window.start_sec * 30), round(window.end_sec * 30)) for window in windows]
    assert frames == [(0, 16), (6, 22), (12, 28), (14, 30)]


def test_what_cannot_be_read_is_a_decode_error_that_names_it(predictor, tmp_path):
    (tmp_path / "no.mp4").write_bytes(b"no video")
    with pytest.raises(DecodeError, match=r"no\.mp4: cannot be opened"):
        predictor.predict(str(tmp_path / "no.mp4"))
    with pytest.raises(DecodeError, match=r"gone\.mp4: cannot be opened \(No such file"):
        next(predictor.slide(str(tmp_path / "gone.mp4")))
    with pytest.raises(UserError, match="is not one video"):
        predictor.predict("rtsp://camera/1")


def test_a_half_damaged_video_is_judged_by_the_views_it_has(predictor, damaged_video):
    prediction = predictor.predict(damaged_video)
    assert prediction.num_views == 3
    assert prediction.failure == "the file is damaged: the decoder had to guess pixels"


def test_classes_without_names_have_numbers(checkpoint, tmp_path, write_numbered):
    contents = torch.load(checkpoint, weights_only=True)
    del contents["label_names"]
    torch.save(contents, tmp_path / "nameless.pyth")
    predictor = slowfast_mlp.load(str(tmp_path / "nameless.pyth"), device="cpu")
    assert predictor.label_names == tuple(f"class {number}" for number in range(8))
    (tmp_path / "names.txt").write_text("\n".join("abcdefgh"))
    predictor = slowfast_mlp.load(
        str(tmp_path / "nameless.pyth"), label_names=str(tmp_path / "names.txt"), device="cpu"
    )
    assert predictor.label_names == tuple("abcdefgh")


def test_weights_alone_need_a_config(checkpoint, tmp_path, run_folder):
    contents = torch.load(checkpoint, weights_only=True)
    torch.save({"model_state": contents["model_state"]}, tmp_path / "weights.pyth")
    with pytest.raises(UserError, match=r"weights.pyth does not hold our settings: .*--cfg configs/"):
        slowfast_mlp.load(str(tmp_path / "weights.pyth"))
    predictor = slowfast_mlp.load(
        str(tmp_path / "weights.pyth"), config_file=str(run_folder / "config.yaml"), device="cpu"
    )
    assert predictor.num_views == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overrides": ["DATA.NUM_FRAMES", "8"]}, "another model: it has DATA.NUM_FRAMES 4, not 8"),
        ({"overrides": ["TEST.NUM_CLIPS", "8"]}, "unknown key TEST.NUM_CLIPS"),
        ({"device": "gpu"}, "There is no device 'gpu': use auto, cpu, cuda"),
        ({"device": "cuda:99"}, r"sees no device 'cuda:99' \(\d+ CUDA devices\)"),
        ({"label_names": "three"}, "names 3 classes; the model has 8"),
    ],
)
def test_what_does_not_fit_is_refused(checkpoint, tmp_path, options, message):
    if "label_names" in options:
        (tmp_path / "three.txt").write_text("a\nb\nc\n")
        options = {"label_names": str(tmp_path / "three.txt")}
    with pytest.raises(UserError, match=message):
        slowfast_mlp.load(checkpoint, **options)


def test_windows_need_a_length_and_a_stride(predictor, write_numbered):
    path = write_numbered("a.mp4", 40)
    with pytest.raises(UserError, match="A window of 0 s every 1 s: both must be above 0"):
        next(predictor.slide(path, window_sec=0, stride_sec=1))


def test_importing_the_package_brings_in_nothing():
    code = "import slowfast_mlp, sys; assert 'torch' not in sys.modules; slowfast_mlp.lod"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith(
        "AttributeError: module 'slowfast_mlp' has no attribute 'lod'"
    )


def test_the_example_of_the_documentation_runs(checkpoint, write_numbered):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "predict.md").read_text(), re.DOTALL)
    for name, real in (
        ("checkpoint_epoch_00016.pyth", checkpoint),
        ("clip.mp4", write_numbered("a.mp4", 40)),
    ):
        assert name in example
        example = example.replace(name, real)
    names = {}
    exec(example, names)
    assert names["best"].name in CLASSES
    assert 1 / 8 < names["best"].probability < 1


@pytest.mark.gpu
def test_the_gpu_scores_as_the_cpu(checkpoint, predictor, write_numbered):
    path = write_numbered("a.mp4", 40)
    on_gpu = slowfast_mlp.load(checkpoint, device="cuda").predict(path)
    assert on_gpu.scores.tolist() == pytest.approx(predictor.predict(path).scores.tolist(), abs=1e-3)


def test_the_first_view_has_the_frames_as_they_look_whatever_the_order_of_channels(checkpoint, corpus):
    record = Record(str(next((corpus / "test").glob("*.mp4"))), 0)
    seen = {
        order: slowfast_mlp.load(
            checkpoint, device="cpu", overrides=["DATA.CHANNEL_ORDER", order]
        ).first_view(record)
        for order in ("RGB", "BGR")
    }
    frames, clip = seen["RGB"]
    assert frames.shape == (4, 32, 32, 3) and frames.dtype == torch.uint8 and clip.shape == (3, 4, 32, 32)
    assert torch.equal(frames, seen["BGR"][0])
    assert torch.equal(clip, seen["BGR"][1].flip(0)) and not torch.equal(clip, seen["BGR"][1])


def test_the_first_view_of_what_cannot_be_read_is_an_error(predictor, tmp_path):
    (tmp_path / "broken.mp4").write_text("no video")
    with pytest.raises(DecodeError, match=r"broken\.mp4"):
        predictor.first_view(Record(str(tmp_path / "broken.mp4"), 0))
