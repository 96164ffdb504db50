"""tools/predict.py as a user runs it: words, tables, files and exit statuses."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from slowfast_mlp.apps.predict.command import _catch_ctrl_c, output_files
from slowfast_mlp.data.datasets.synthetic import CLASSES
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.stream import open_stream
from tests.conftest import ROOT, main_of


@pytest.fixture
def predict(checkpoint, capsys):
    """Runs the tool on the CPU; returns status, output and error."""

    def predict(*words):
        flags = ["--checkpoint", checkpoint, "--device", "cpu"]
        status = main_of("predict")([*map(str, words), *flags])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return predict


def test_a_video_gets_a_table(predict, write_numbered):
    path = write_numbered("a.mp4", 40)
    status, printed, _ = predict(path, "--top-k", "3")
    lines = printed.splitlines()
    assert (status, lines[0], len(lines)) == (0, path, 4)
    for place, line in enumerate(lines[1:], start=1):
        match = re.fullmatch(rf"   {place}  (\w+) +(\d+\.\d) %", line)
        assert match[1] in CLASSES


def test_json_is_all_that_is_printed(predict, write_numbered):
    paths = [write_numbered("a.mp4", 40), write_numbered("b.avi", 40, codec="mpeg4")]
    status, printed, _ = predict(*paths, "--json")
    records = [json.loads(line) for line in printed.splitlines()]
    assert status == 0
    assert [record["path"] for record in records] == paths
    assert all(len(record["top"]) == 5 and record["num_views"] == 6 for record in records)


def test_damaged_files_are_named_and_the_rest_goes_on(predict, write_numbered, damaged_video, tmp_path):
    whole = write_numbered("a.mp4", 40)
    status, printed, error = predict(damaged_video, tmp_path / "gone.mp4", whole, "--top-k", "1", "--quiet")
    assert status == 1
    assert "only 3 views: the file is damaged" in printed
    assert f"{tmp_path}/gone.mp4\n  cannot be read: cannot be opened (No such file or directory)" in printed
    assert printed.splitlines()[-2] == whole
    assert error.splitlines() == [
        "2 of 3 could not be read, or not all of it:",
        f"  {damaged_video}: the file is damaged: the decoder had to guess pixels",
        f"  {tmp_path}/gone.mp4: cannot be opened (No such file or directory)",
    ]


def test_paths_come_from_standard_input_or_a_list(predict, write_numbered, tmp_path, monkeypatch):
    path = write_numbered("a b.mp4", 40)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{path}\n\n"))
    assert predict("-", "--top-k", "1")[1].splitlines()[0] == path
    (tmp_path / "list.txt").write_text(f"{path}\n")
    assert predict("--list", tmp_path / "list.txt", "--top-k", "1")[1].splitlines()[0] == path


def test_a_window_slides_and_writes_its_files(predict, write_numbered, tmp_path):
    path = write_numbered("a.mp4", 43)
    files = {name: tmp_path / name for name in ("t.png", "s.json", "v.mp4")}
    status, printed, _ = predict(
        path,
        *("--stride-sec", "0.4", "--top-k", "2", "--timeline", files["t.png"]),
        *("--segments", files["s.json"], "--write-video", files["v.mp4"]),
    )
    lines = printed.splitlines()
    assert (status, lines[0]) == (0, path)
    times = [line.split("  ")[1] for line in lines[1:]]
    assert times == ["0:00.0 - 0:00.5", "0:00.4 - 0:00.9", "0:00.8 - 0:01.3", "0:00.9 - 0:01.4"]
    with Image.open(files["t.png"]) as picture:
        assert picture.size == (1600, 800)
    written = json.loads(files["s.json"].read_text())
    assert written["path"] == path
    assert (written["segments"][0]["start_sec"], written["segments"][-1]["end_sec"]) == (0.0, 1.433)
    assert len(written["windows"]) == 4
    video = open_stream(Record(str(files["v.mp4"]), 0))
    frames = list(video)
    video.close()
    assert (len(frames), video.fps, tuple(frames[0].pixels.shape)) == (43, 30.0, (240, 720, 3))


@pytest.mark.parametrize(
    ("flag", "name", "suffix"),
    [("--timeline", "t", ".png"), ("--timeline", "t.mp4", ".png"), ("--write-video", "v.txt", ".mp4")],
)
def test_an_ending_that_cannot_be_written_is_refused_before_the_work(
    predict, write_numbered, tmp_path, flag, name, suffix
):
    status, printed, error = predict(write_numbered("a.mp4", 40), flag, tmp_path / name, "--quiet")
    assert (status, printed) == (2, "")
    refusal = f"{tmp_path}/{name} cannot be written: its ending names no known form. End it in {suffix}."
    assert error == f"error: {refusal}\n"


def test_a_video_that_cannot_be_opened_stands_under_its_own_name_among_windows(predict, write_numbered):
    path = write_numbered("a.mp4", 16)
    status, printed, _ = predict(path, "/nowhere/b.mp4", "--stride-sec", "1", "--quiet")
    assert status == 1
    assert printed.splitlines()[2:] == ["/nowhere/b.mp4", "  cannot be opened (No such file or directory)"]


def test_several_videos_write_into_a_folder(predict, write_numbered, tmp_path):
    paths = [write_numbered("a.mp4", 20), write_numbered("a.mp4", 30)]
    assert predict(*paths, "--segments", tmp_path / "s.json")[0] == 2
    status, _, _ = predict(*paths, "--segments", tmp_path, "--write-video", tmp_path)
    assert status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.mp4", "a_2.json", "a_2.mp4"]


def test_a_whole_video_is_written_with_its_names(predict, write_numbered, tmp_path):
    assert predict(write_numbered("a.mp4", 20), "--write-video", tmp_path / "v.mp4")[0] == 0
    video = open_stream(Record(str(tmp_path / "v.mp4"), 0))
    assert len(list(video)) == 20
    video.close()


def test_a_stream_slides_and_ends_when_it_is_told_to(predict, tmp_path):
    source = "lavfi:testsrc=size=64x48:rate=30"  # without an end
    status, printed, _ = predict(
        source, "--max-sec", "1", "--stride-sec", "0.2", "--json", "--write-video", tmp_path / "v.mp4"
    )
    ends = [json.loads(line)["end_sec"] for line in printed.splitlines()]
    assert status == 0
    assert ends == [0.533, 0.733, 0.933, 1.0]
    video = open_stream(Record(str(tmp_path / "v.mp4"), 0))
    assert len(list(video)) == 30
    video.close()


def test_damage_in_a_long_video_is_counted(predict, damaged_video):
    status, printed, error = predict(damaged_video, "--stride-sec", "0.5", "--top-k", "1")
    assert status == 1
    assert len(printed.splitlines()) > 3
    assert re.search(rf"{damaged_video}: \d+ damaged frames were left out", error)


WRITER = """
import sys, time, av
from pathlib import Path
fifo, gate, num_before, num_after = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
with av.open(fifo, "w", format="mpegts", container_options={"flush_packets": "1"}) as container:
    stream = container.add_stream("libx264", rate=30, options={"tune": "zerolatency", "g": "15"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for number in range(num_before + num_after):
        while number == num_before and not gate.exists():
            time.sleep(0.01)
        frame = av.VideoFrame(64, 48, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([number]) * plane.buffer_size)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_growing_pipe_is_predicted_before_it_ends(checkpoint, tmp_path):
    fifo, gate = tmp_path / "live.ts", tmp_path / "gate"
    os.mkfifo(fifo)
    command = [sys.executable, str(ROOT / "tools" / "predict.py"), str(fifo), "--checkpoint", checkpoint]
    command += ["--device", "cpu", "--json", "--stride-sec", "1"]
    # The second half is written only after the first window was told: else both would wait for ever.
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(fifo), str(gate), "120", "60"])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as reader:
        first = json.loads(reader.stdout.readline())
        assert not gate.exists()
        gate.touch()
        others = [json.loads(line) for line in reader.stdout]
    assert (reader.returncode, writer.wait()) == (0, 0)
    assert (first["path"], first["start_sec"]) == (str(fifo), 0.0)
    assert [window["start_sec"] for window in others] == pytest.approx([1, 2, 3, 4, 5, 164 / 30], abs=2e-3)


def test_interrupting_a_stream_ends_it_and_writes_its_files(checkpoint, tmp_path):
    command = [sys.executable, str(ROOT / "tools" / "predict.py"), "lavfi:testsrc=size=64x48:rate=30"]
    command += ["--checkpoint", checkpoint, "--device", "cpu", "--timeline", str(tmp_path / "t.png")]
    command += ["--write-video", str(tmp_path / "v.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as tool:
        lines = [tool.stdout.readline() for _ in range(4)]
        tool.send_signal(signal.SIGINT)
        tool.stdout.read()
    assert tool.returncode == 0
    assert lines[1].startswith("  0:00.0 - 0:00.5  ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.png", "v.mp4"]


def test_a_ctrl_c_that_is_lost_in_native_code_is_seen_all_the_same():
    before = signal.getsignal(signal.SIGINT)
    with _catch_ctrl_c() as is_seen:
        assert not is_seen()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert is_seen()
    assert signal.getsignal(signal.SIGINT) is before


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["*.nothing"], "error: No file matches '*.nothing'."),
        (["a.mp4", "--opts", "TEST.CROPS", "1"], "error: command line: unknown key TEST.CROPS"),
        (["a.mp4", "--device", "gpu"], "error: There is no device 'gpu'"),
        (["a.mp4", "--list", "/nowhere.txt"], "error: --list /nowhere.txt cannot be read"),
        (["a.mp4", "--timeline", "/nowhere/t.png"], "error: /nowhere/t.png cannot be written"),
    ],
)
def test_a_wrong_command_is_a_line_and_status_2(checkpoint, capsys, words, message):
    assert main_of("predict")([*words, "--checkpoint", checkpoint]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["a.mp4", "--top-k", "0"], ["a.mp4", "--stride-sec", "0"]])
def test_a_wrong_flag_is_status_2(words):
    with pytest.raises(SystemExit, match="2"):
        main_of("predict")([*words, "--checkpoint", "x.pyth"])


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        main_of("predict")(["--help"])
    assert "python tools/predict.py /dev/video0 --checkpoint FILE --max-sec 60" in capsys.readouterr().out


def test_the_commands_of_the_documentation_run(checkpoint, write_numbered, tmp_path):
    commands = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "predict.md").read_text(), re.DOTALL)
    assert len(commands) == 2
    for name, source in (
        ("clip.mp4", write_numbered("a.mp4", 40)),
        ("long.mp4", write_numbered("b.mp4", 100)),
        ("checkpoint_epoch_00016.pyth", checkpoint),
    ):
        Path(tmp_path / name).symlink_to(source)
    for command in commands:
        command = command.replace("python tools", f"{sys.executable} {ROOT}/tools")
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment(), capture_output=True)
        assert done.returncode == 0, done.stderr
    assert {"timeline.png", "segments.json", "named.mp4"} <= {path.name for path in tmp_path.iterdir()}
    with av.open(str(tmp_path / "named.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 100


def test_a_video_is_not_written_over_by_itself_with_names_on_it(predict, write_numbered, tmp_path):
    paths = [shutil.copy(write_numbered(name, 20), tmp_path / name) for name in ("a.mp4", "b.mp4")]
    before = paths[0].read_bytes()
    for words in ([paths[0], "--write-video", paths[0]], [*paths, "--write-video", tmp_path]):
        status, printed, error = predict(*words)
        assert (status, printed) == (2, "")
        assert error == (
            f"error: {paths[0]} is one of the videos, which would be lost. Name another file or folder.\n"
        )
    assert paths[0].read_bytes() == before


def test_every_video_has_a_file_of_its_own_whatever_the_others_are_called(tmp_path):
    sources = [Record(name, 0) for name in ("a.mp4", "x/a.mp4", "a_2.mp4", "y/a.mp4")]
    names = [path.name for path in output_files(tmp_path, sources, ".json")]
    assert names == ["a.json", "a_2.json", "a_2_2.json", "a_3.json"]
