"""Kinetics: official annotations and videos, as lists of those that are there."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import pytest

from slowfast_mlp.data.datasets.kinetics import parse_list
from tests.apps.prepare_data.running import HEADING, kinetics_words, shows, trains_and_tests
from tests.conftest import ROOT


def test_kinetics_lists_hold_the_videos_that_are_there(prepare, kinetics):
    out = kinetics / "out"
    status, output, _ = prepare(*kinetics_words(kinetics))
    assert status == 1
    assert (out / "train.csv").read_text() == (
        "train/riding a bike/abc_000012_000022.mp4 1\ntrain/abseiling/d-f.mkv 0\n"
    )
    assert (out / "val.csv").read_text() == "val/abseiling/ghi_000001_000011.mp4 0\njkl_000100_000110.mp4 1\n"
    assert (out / "categories.txt").read_text() == "abseiling\t0\nriding a bike\t1\n"
    assert (out / "missing.txt").read_text() == "train gone_000000_000010: there is no file, abseiling\n"
    assert output == [
        f"{out}/train.csv: 2 videos",
        f"{out}/val.csv: 2 videos",
        f"{out}/categories.txt: 2 classes",
        f"left out: 1, listed with the reasons in {out}/missing.txt",
        f"settings: TRAIN.DATASET kinetics DATA.PATH_TO_DATA_DIR {out} DATA.PATH_PREFIX {kinetics}/videos "
        "MODEL.NUM_CLASSES 2",
    ]


@pytest.mark.parametrize(
    ("annotations", "settings"),
    [
        ("train.csv", "MODEL.NUM_CLASSES 2 TRAIN.EVAL_PERIOD 0 TEST.ENABLE False"),
        ("validate.csv", "MODEL.NUM_CLASSES 2 TRAIN.ENABLE False"),
    ],
)
def test_the_settings_name_no_split_without_a_list(prepare, kinetics, annotations, settings):
    files = ("--videos", kinetics / "videos", "--out", kinetics / "out")
    _, output, _ = prepare("kinetics", "--annotations", kinetics / annotations, *files)
    assert output[-1].endswith(settings)


def test_nothing_missing_is_status_0_and_removes_the_list_of_the_missing(prepare, kinetics):
    prepare(*kinetics_words(kinetics))
    shutil.copy(kinetics / "videos/jkl_000100_000110.mp4", kinetics / "videos/gone.mp4")
    assert prepare(*kinetics_words(kinetics))[0] == 0
    assert not (kinetics / "out/missing.txt").exists()


@pytest.mark.parametrize(
    "order", ["riding a bike\t0\nmarching\t2\nabseiling\t1\n", "riding a bike\nabseiling\nmarching\n"]
)
def test_label_ids_may_follow_another_order(prepare, kinetics, order):
    (kinetics / "order.txt").write_text(order)
    prepare(*kinetics_words(kinetics, "--label-order", kinetics / "order.txt"))
    assert (kinetics / "out/val.csv").read_text().splitlines()[0] == "val/abseiling/ghi_000001_000011.mp4 1"
    assert sorted((kinetics / "out/categories.txt").read_text().splitlines())[1:] == [
        "marching\t2",
        "riding a bike\t0",
    ]


def test_a_test_set_without_labels_is_left_out_and_said(prepare, kinetics):
    (kinetics / "test.csv").write_text("youtube_id,time_start,time_end,split\njkl,100,110,test\n")
    words = list(kinetics_words(kinetics))
    words.insert(2, kinetics / "test.csv")
    prepare(*words)
    assert not (kinetics / "out/test.csv").exists()
    assert "test jkl_000100_000110: has no label" in (kinetics / "out/missing.txt").read_text()


def test_a_video_in_two_places_is_taken_from_the_folder_of_its_split(prepare, kinetics):
    for place in ("a copy", "val"):
        (kinetics / "videos" / place).mkdir(exist_ok=True)
        shutil.copy(kinetics / "videos/jkl_000100_000110.mp4", kinetics / "videos" / place)
    prepare(*kinetics_words(kinetics))
    assert "val/jkl_000100_000110.mp4 1\n" in (kinetics / "out/val.csv").read_text()


def test_reencoded_kinetics_trains_and_tests(prepare, kinetics, command):
    out = kinetics / "out"
    status, output, _ = prepare(*kinetics_words(kinetics, "--reencode", "--crf", "18"))
    assert status == 1
    assert (out / "train.csv").read_text() == (
        "train/riding a bike/abc_000012_000022.mp4 1\ntrain/abseiling/d-f.mp4 0\n"
    )
    assert shows(out / "videos/train/abseiling/d-f.mp4") == list(range(31))
    trains_and_tests(command, output, num_tested=2)


def test_a_second_run_keeps_what_is_whole_and_writes_what_is_not(prepare, kinetics):
    words = kinetics_words(kinetics, "--reencode")
    prepare(*words)
    folder = kinetics / "out/videos"
    kept, broken = folder / "jkl_000100_000110.mp4", folder / "train/abseiling/d-f.mp4"
    before = kept.stat().st_mtime_ns
    broken.write_bytes(broken.read_bytes()[:500])
    (folder / ".x.mp4.1.part").touch()  # of a process that was killed
    prepare(*words)
    assert kept.stat().st_mtime_ns == before
    assert shows(broken) == list(range(31))
    assert not list(folder.rglob(".*"))


def test_a_killed_run_leaves_no_half_file_and_is_resumed(kinetics, prepare):
    clip = kinetics / "videos/jkl_000100_000110.mp4"
    for number in range(80):
        shutil.copy(clip, kinetics / f"videos/k{number:02d}_000000_000010.mp4")
    lines = "".join(f"abseiling,k{number:02d},0,10,train,0\n" for number in range(80))
    (kinetics / "train.csv").write_text(HEADING + lines)
    words = [str(word) for word in kinetics_words(kinetics, "--reencode", "--jobs", "1")]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tools/prepare_data.py"), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=kinetics,
        stderr=subprocess.DEVNULL,
    )
    folder = kinetics / "out/videos"
    deadline = time.monotonic() + 120
    while len(list(folder.rglob("*.mp4"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = list(folder.glob("k*.mp4"))
    assert 3 <= len(done) < 80
    assert all(shows(path) == list(range(33)) for path in done)
    assert not (kinetics / "out/train.csv").exists()
    assert prepare(*words[:-2])[0] == 0
    assert len((kinetics / "out/train.csv").read_text().splitlines()) == 80
    assert all(shows(folder / f"k{number:02d}_000000_000010.mp4") == list(range(33)) for number in range(80))
    assert not list(folder.rglob("*.part"))


def test_a_damaged_video_is_left_out_and_listed(prepare, kinetics, damaged_video):
    shutil.copy(damaged_video, kinetics / "videos/gone.mp4")
    status, _, _ = prepare(*kinetics_words(kinetics, "--reencode"))
    assert status == 1
    (line,) = (kinetics / "out/missing.txt").read_text().splitlines()
    assert line == "gone.mp4: cannot be re-encoded (Invalid data found when processing input)"
    assert "gone" not in (kinetics / "out/train.csv").read_text()


def test_a_folder_is_not_filled_up_with_other_settings(prepare, kinetics):
    prepare(*kinetics_words(kinetics, "--reencode"))
    status, _, error = prepare(*kinetics_words(kinetics, "--reencode", "--gop", "15"))
    assert status == 2
    assert "was begun with other settings" in error and '"gop": 12' in error and '"gop": 15' in error


def test_shards_hold_the_files_and_the_lists_lead_into_them(prepare, kinetics):
    out = kinetics / "out"
    prepare(*kinetics_words(kinetics, "--shards", "3"))
    records = [record for split in ("train", "val") for record in parse_list(
        str(out / f"{split}.csv"), prefix=str(out / "shards"), separator=" "
    )]  # fmt: skip
    names = ["train/riding a bike/abc_000012_000022.mp4", "train/abseiling/d-f.mkv",
             "val/abseiling/ghi_000001_000011.mp4", "jkl_000100_000110.mp4"]  # fmt: skip
    places = [f"{out}/shards/shard-00000.tar/{name}" for name in names[:3]]
    assert [record.path for record in records] == [*places, f"{out}/shards/shard-00001.tar/{names[3]}"]
    with tarfile.open(out / "shards/shard-00000.tar") as tar:
        assert tar.getnames() == names[:3]
        assert tar.extractfile(names[1]).read() == (kinetics / "videos" / names[1]).read_bytes()
    written = (out / "shards/shard-00000.tar").stat().st_mtime_ns
    (out / "shards/shard-00001.tar").unlink()
    prepare(*kinetics_words(kinetics, "--shards", "3"))
    assert (out / "shards/shard-00000.tar").stat().st_mtime_ns == written
    assert (out / "shards/shard-00001.tar").exists()


def test_official_annotations_are_not_written_over_by_the_list_of_that_name(prepare, kinetics):
    before = (kinetics / "train.csv").read_text()
    status, _, error = prepare(*kinetics_words(kinetics, "--out", kinetics))
    assert status == 2
    assert f"error: {kinetics}/train.csv would be written over by our list of that name: choose" in error
    assert (kinetics / "train.csv").read_text() == before
