"""What a model that has learnt motions looks at."""

import pytest
import torch

import slowfast_mlp
from slowfast_mlp.apps.visualize.explain import ONE_VIEW, explain_video
from slowfast_mlp.config.load import load_config
from slowfast_mlp.data.datasets.synthetic import CLASSES, render_video
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.encode import write_video
from slowfast_mlp.run.main import run
from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_relevance_of_a_trained_model_lies_on_what_moves(tmp_path):
    config = str(ROOT / "configs" / "Synthetic" / "POSMLP_VIDEO_NANO_8x3.yaml")
    words = ["OUTPUT_DIR", str(tmp_path / "out"), "NUM_GPUS", "0", "SOLVER.MAX_EPOCH", "4"]
    run(load_config(config, [*words, "TEST.ENABLE", "False"]))
    checkpoint = tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00004.pyth"
    predictor = slowfast_mlp.load(str(checkpoint), overrides=ONE_VIEW, device="cpu")
    shares, areas = [], []
    for label, name in enumerate(CLASSES):
        path = tmp_path / f"{name}.mp4"
        write_video(path, render_video(label, seed=1000 + label), fps=30, options={"crf": "20"})
        explanation = explain_video(predictor, Record(str(path), label), label=label)
        background = explanation.frames.float().median(dim=0).values
        moves = (explanation.frames.float() - background).abs().sum(dim=-1) > 60
        shares.append(float(explanation.saliency[moves].sum()))
        areas.append(float(moves.float().mean()))
    # Measured: about five times their share of the pixels.
    assert torch.tensor(shares).mean() > 2.5 * torch.tensor(areas).mean()
