"""Small real things that many tests need: videos whose frames tell their number, and the real
clips of SLOWFAST_MLP_SHARED.
"""

import importlib.util
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from slowfast_mlp.config.load import load_config
from slowfast_mlp.data.datasets.synthetic import CLASSES, render_corpus
from slowfast_mlp.data.video_io.encode import write_video
from slowfast_mlp.run.main import run

ROOT = Path(__file__).parents[1]
BITS = 9
BLOCK = 16  # decord misreads rows much narrower than this makes them
HEIGHT, WIDTH = 48, BITS * BLOCK


def numbered_frames(num_frames: int) -> Tensor:
    """Frames [T, H, W, 3]: frame i shows i in binary, as columns that no codec blurs away."""
    bits = (torch.arange(num_frames).unsqueeze(1) >> torch.arange(BITS)) & 1  # T BITS
    columns = bits.repeat_interleave(BLOCK, dim=1)  # T W
    return (
        (columns * 255)
        .to(torch.uint8)
        .reshape(num_frames, 1, WIDTH, 1)
        .expand(-1, HEIGHT, -1, 3)
        .contiguous()
    )


def numbers_shown(frames: Tensor) -> list[int]:
    """The numbers that frames [T, H, W, 3] show."""
    columns = frames.float().mean(dim=(1, 3)).reshape(len(frames), BITS, BLOCK).mean(dim=2)
    return ((columns > 127).long() << torch.arange(BITS)).sum(dim=1).tolist()


def pytest_collection_modifyitems(items):
    """Leaves out what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))


@pytest.fixture(scope="session")
def write_numbered(tmp_path_factory):
    """Writes a video of numbered frames and returns its path."""

    def write(
        name: str, num_frames: int = 40, *, fps: int = 30, codec: str = "libx264", **options: str
    ) -> str:
        path = tmp_path_factory.mktemp("videos") / name
        write_video(path, numbered_frames(num_frames), fps=fps, options=options or {"g": "12"}, codec=codec)
        return str(path)

    return write


@pytest.fixture(scope="session")
def damaged_video(write_numbered) -> str:
    """A video whose second half is noise: the index and the first frames are whole."""
    whole = write_numbered("damaged.mp4", 120, g="12", bf="0")
    data = bytearray(Path(whole).read_bytes())
    start = data.index(b"mdat")  # the pictures; the index stands behind them
    end = data.index(b"moov")
    middle = (start + end) // 2
    noise = torch.randint(0, 256, (end - 8 - middle,), generator=torch.Generator().manual_seed(0))
    data[middle : end - 8] = bytes(noise.tolist())
    Path(whole).write_bytes(data)
    return whole


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder with the papers' outputs and real clips; tests that need it are skipped elsewhere."""
    folder = os.environ.get("SLOWFAST_MLP_SHARED")
    if not folder:
        pytest.skip("SLOWFAST_MLP_SHARED is not set")
    return Path(folder)


TINY = """
TRAIN: {DATASET: kinetics, BATCH_SIZE: 4, PRECISION: fp32, EVAL_PERIOD: 1}
TEST: {NUM_ENSEMBLE_VIEWS: 2, NUM_SPATIAL_CROPS: 3, BATCH_SIZE: 12}
DATA: {NUM_FRAMES: 4, TRAIN_CROP_SIZE: 32, TEST_CROP_SIZE: 32, TEST_SHORT_SIZE: 36, RANDOM_FLIP: False}
DATA_LOADER: {NUM_WORKERS: 1}
MODEL: {NAME: morphmlp, VARIANT: Nano, NUM_CLASSES: 8, ARGS: {dims: [8, 16, 32, 64], drop_path: 0.2}}
SOLVER: {BASE_LR: 1e-3, MAX_EPOCH: 2, WARMUP_EPOCHS: 1, CLIP_GRAD_L2NORM: 1, LABEL_SMOOTHING: 0.1}
TENSORBOARD: {ENABLE: False}
REPORT: {ENABLE: False}
LOG_PERIOD: 2
"""


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder of Kinetics lists over 11 training and 7 test videos; 7 divides by nothing."""
    folder = tmp_path_factory.mktemp("corpus")
    render_corpus(folder, {"train": 11, "val": 8, "test": 7})
    return folder


@pytest.fixture
def configure(tmp_path, corpus):
    """A tiny config with overrides, writing into tmp_path / out."""

    def configure(*overrides, out="out", data=corpus):
        path = tmp_path / "tiny.yaml"
        path.write_text(TINY)
        words = [
            "DATA.PATH_TO_DATA_DIR",
            str(data),
            "OUTPUT_DIR",
            str(tmp_path / out),
            "NUM_GPUS",
            "0",
            *overrides,
        ]
        return load_config(str(path), words)

    return configure


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, corpus):
    """The OUTPUT_DIR of a run of one epoch and its test, on rendered videos with names."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "names.txt").write_text("\n".join(CLASSES))
    words = {
        "DATA.PATH_TO_DATA_DIR": corpus,
        "DATA.ARGS.label_names": folder / "names.txt",
        "OUTPUT_DIR": folder / "out",
        "NUM_GPUS": 0,
        "SOLVER.MAX_EPOCH": 1,
    }
    run(load_config(str(folder / "tiny.yaml"), [str(word) for pair in words.items() for word in pair]))
    return folder / "out"


@pytest.fixture(scope="session")
def checkpoint(run_folder):
    """The checkpoint of that run."""
    return str(run_folder / "checkpoints" / "checkpoint_epoch_00001.pyth")


def main_of(tool: str):
    """The main function of tools/`tool`.py."""
    spec = importlib.util.spec_from_file_location(Path(tool).name, ROOT / "tools" / f"{tool}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(scope="session")
def main():
    """The main function of tools/run_net.py."""
    return main_of("run_net")


@pytest.fixture
def command(main, tmp_path, corpus, capsys):
    """Runs the command line on the tiny config; returns status, output and error."""

    def command(*overrides):
        (tmp_path / "tiny.yaml").write_text(TINY)
        words = ["DATA.PATH_TO_DATA_DIR", str(corpus), "OUTPUT_DIR", str(tmp_path / "out"), "NUM_GPUS", "0"]
        status = main(["--cfg", str(tmp_path / "tiny.yaml"), *words, *map(str, overrides)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command
