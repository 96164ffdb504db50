"""docs/getting_started.md, followed to the letter on a few tiny videos."""

import os
import re
import subprocess
import sys

from slowfast_mlp.data.video_io.encode import write_video
from tests.conftest import ROOT
from tests.test_formats import clip

PAGE = ROOT / "docs" / "getting_started.md"


def test_the_page_leads_from_a_folder_of_videos_to_predictions(tmp_path):
    text = PAGE.read_text()
    for label, name in enumerate(("clapping", "waving")):
        (tmp_path / "my_videos" / name).mkdir(parents=True)
        for number in range(5):
            path = tmp_path / "my_videos" / name / f"{number}.mp4"
            frames = clip(label).repeat(4, 1, 1, 1)  # 2 seconds, another brightness in each
            write_video(path, frames - 2 * number, fps=12, options={"g": "12"}, codec="libx264")
    for name in ("configs", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    (config,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert "MAX_EPOCH: 30, WARMUP_EPOCHS: 3" in config
    (tmp_path / "my.yaml").write_text(config.replace("MAX_EPOCH: 30, WARMUP_EPOCHS: 3", "MAX_EPOCH: 1"))
    commands = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    assert len(commands) == 4
    printed = [run(command, tmp_path) for command in commands]
    assert (tmp_path / "lists" / "categories.txt").read_text() == "clapping\t0\nwaving\t1\n"
    assert (tmp_path / "lists" / "val.csv").read_text().count("\n") == 2
    assert "test results" in printed[2]
    assert (tmp_path / "output" / "mine" / "predictions.csv").exists()
    assert "report output/mine/report.html" in printed[2]
    assert printed[3].count(".mp4\n") == 5 and printed[3].count("waving ") == 5


def run(command, folder):
    """What a command of the page writes, run in a folder without a GPU."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        command.replace("python tools", f"{sys.executable} tools"),
        shell=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
