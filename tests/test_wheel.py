"""A wheel of the project, away from the clone: its tools and configs are in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("setuptools", minversion="70.1", reason="older ones need another package to build wheels")
BUILD = "import setuptools.build_meta as build; print(build.build_wheel('dist'))"
SMALL = [
    *("SOLVER.MAX_EPOCH", "1", "SOLVER.WARMUP_EPOCHS", "0", "NUM_GPUS", "0", "DATA_LOADER.NUM_WORKERS", "0"),
    *("DATA.ARGS", "{num_train: 16, num_val: 8, num_test: 8}", "DATA.PATH_TO_DATA_DIR", "videos"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with what a wheel of this tree installs."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("slowfast_mlp", "tools", "configs", "benchmarks"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    built = run([sys.executable, "-c", BUILD], copy)
    folder = tmp_path_factory.mktemp("site")
    wheel = copy / "dist" / built.splitlines()[-1]
    flags = ["--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    run([sys.executable, "-m", "pip", "install", *flags, str(wheel)], copy)
    return folder


def run(command, folder, **environment):
    """What a command writes."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_wheel_trains_the_synthetic_config_and_predicts_away_from_the_clone(site, tmp_path):
    def python(*words):
        return run([sys.executable, *words], tmp_path, PYTHONPATH=str(site), CUDA_VISIBLE_DEVICES="")

    place = Path(python("-c", "import slowfast_mlp; print(slowfast_mlp.__file__)").strip())
    assert place.is_relative_to(site)
    config = "configs/Synthetic/MORPHMLP_NANO_8x3.yaml"
    assert "test results" in python("-m", "slowfast_mlp.tools.run_net", "--cfg", config, *SMALL)
    checkpoint = next((tmp_path / "output/Synthetic/MORPHMLP_NANO_8x3/checkpoints").glob("*_00001.pyth"))
    videos = [str(path) for path in sorted((tmp_path / "videos").rglob("*.mp4"))[:2]]
    printed = python("-m", "slowfast_mlp.tools.predict", *videos, "--checkpoint", str(checkpoint))
    assert [line for line in printed.splitlines() if line in videos] == videos


def test_a_wheel_has_the_published_figures_and_names_its_own_files_in_their_commands(site, tmp_path):
    words = ["-m", "slowfast_mlp.tools.reproduce", "--rows", "ImageNet/MOBILE_FORMER_26M", "--out", "out"]
    run([sys.executable, *words], tmp_path, PYTHONPATH=str(site), CUDA_VISIBLE_DEVICES="")
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| ImageNet/MOBILE_FORMER_26M | 64.0 | - | - " in report
    folder = site / "slowfast_mlp"
    files = f"{folder}/tools/run_net.py --cfg {folder}/configs/ImageNet/MOBILE_FORMER_26M.yaml"
    assert f"\npython {files} TRAIN.ENABLE False" in report
