"""tools/prepare_data.py: official annotations and files of every data set, as lists that run_net.py reads."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import av
import pytest
from torchvision.io import write_jpeg

from slowfast_mlp.data.datasets.imagenet import read_records
from slowfast_mlp.data.datasets.kinetics import parse_list
from slowfast_mlp.data.decode import open_video
from tests.conftest import ROOT, numbered_frames, numbers_shown
from tests.conftest import main_of as load

HEADING = "label,youtube_id,time_start,time_end,split,is_cc\n"


@pytest.fixture
def prepare(capsys):
    """Runs the tool with one process; returns status, lines of output, and error."""

    def prepare(*words):
        status = load("prepare_data")([*map(str, words), "--jobs", "1"])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err

    return prepare


@pytest.fixture
def kinetics(tmp_path, write_numbered):
    """Annotations and videos as people have them: class folders and flat, with times in the name or not."""
    videos = tmp_path / "videos"
    for number, name in enumerate(
        (
            "train/riding a bike/abc_000012_000022.mp4",
            "train/abseiling/d-f.mkv",
            "val/abseiling/ghi_000001_000011.mp4",
            "jkl_000100_000110.mp4",
        )
    ):
        path = videos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(write_numbered(f"a{path.suffix}", 30 + number, g="250"), path)
    (tmp_path / "train.csv").write_text(
        f"{HEADING}riding a bike,abc,12,22,train,0\nabseiling,d-f,3,13,train,0\nabseiling,gone,0,10,train,0\n"
    )
    (tmp_path / "validate.csv").write_text(
        f"{HEADING}abseiling,ghi,1,11,validate,0\nriding a bike,jkl,100,110,validate,0\n"
    )
    return tmp_path


def kinetics_words(folder, *more):
    annotations = (folder / "train.csv", folder / "validate.csv")
    return (
        "kinetics",
        "--annotations",
        *annotations,
        "--videos",
        folder / "videos",
        "--out",
        folder / "out",
        *more,
    )


def trains_and_tests(command, output, *, num_tested, overrides=()):
    """Runs run_net.py with the settings that the tool printed last."""
    settings = shlex.split(output[-1].removeprefix("settings: "))
    status, output, error = command(*settings, "TRAIN.BATCH_SIZE", "2", *overrides)
    assert (status, error) == (0, "")
    assert f"{num_tested}/{num_tested} with a view" in output


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


def shows(path):
    with open_video(str(path), "pyav") as video:
        return numbers_shown(video.read(range(video.num_frames)))


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
    assert line == "gone.mp4: cannot be written anew (Invalid data found when processing input)"
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


def write_frames(folder, num_frames, template, first=1):
    folder.mkdir(parents=True)
    for number, frame in enumerate(numbered_frames(num_frames), start=first):
        write_jpeg(frame.permute(2, 0, 1), str(folder / template.format(number)))


@pytest.fixture
def ssv1(tmp_path):
    start = tmp_path / "something-something-v1-"
    Path(f"{start}labels.csv").write_text("Opening something\nMoving something up\n")
    Path(f"{start}train.csv").write_text("7;Opening something\n8;Moving something up\n9;Opening something\n")
    Path(f"{start}validation.csv").write_text("10;Moving something up\n")
    for folder, num_frames in ((7, 5), (8, 6), (10, 4)):
        write_frames(tmp_path / "frames" / str(folder), num_frames, "{:05d}.jpg")
    return tmp_path


def ssv1_words(folder, *more):
    return ("ssv1", "--annotations", folder, "--frames", folder / "frames", "--out", folder / "out", *more)


def test_ssv1_lists_count_the_frames_that_are_there(prepare, ssv1):
    status, output, _ = prepare(*ssv1_words(ssv1))
    out = ssv1 / "out"
    assert status == 1
    assert (out / "somesomev1_rgb_train_split.txt").read_text() == "7 5 1\n8 6 0\n"
    assert (out / "somesomev1_rgb_validation_split.txt").read_text() == "10 4 0\n"
    assert (out / "category.txt").read_text() == "Moving something up\nOpening something\n"
    assert (out / "missing.txt").read_text() == "train 9: there is no folder\n"
    assert output[-1].startswith(
        f"settings: TRAIN.DATASET ssv1 DATA.PATH_TO_DATA_DIR {out} DATA.PATH_PREFIX "
    )


def test_prepared_ssv1_trains_and_tests(prepare, ssv1, command):
    _, output, _ = prepare(*ssv1_words(ssv1))
    trains_and_tests(command, output, num_tested=1)


def test_frame_folders_in_shards_train_and_test_as_from_files(prepare, ssv1, command, tmp_path):
    words = ssv1_words(ssv1, "--shards", "2")
    _, output, _ = prepare(*words)
    out = ssv1 / "out"
    assert (out / "somesomev1_rgb_train_split.txt").read_text() == (
        "shard-00000.tar/7 5 1\nshard-00000.tar/8 6 0\n"
    )
    assert (out / "somesomev1_rgb_validation_split.txt").read_text() == "shard-00001.tar/10 4 0\n"
    with tarfile.open(out / "shards/shard-00001.tar") as tar:
        assert tar.getnames() == [f"10/{number:05d}.jpg" for number in (1, 2, 3, 4)]
    assert f"DATA.PATH_PREFIX {out}/shards" in output[-1]
    trains_and_tests(command, output, num_tested=1)
    status, _, error = prepare(*ssv1_words(ssv1, "--shards", "9"))
    assert status == 2
    assert f"{out}/shards/shard-00001.tar is of an earlier run that wrote more shards; remove it" in error


def test_ssv1_folders_with_a_gap_are_left_out_with_the_reason(prepare, ssv1):
    (ssv1 / "frames/8/00003.jpg").unlink()
    prepare(*ssv1_words(ssv1))
    assert (ssv1 / "out/somesomev1_rgb_train_split.txt").read_text() == "7 5 1\n"
    assert "train 8: has no 00003.jpg, but 00001.jpg to 00006.jpg\n" in (ssv1 / "out/missing.txt").read_text()


def test_frames_numbered_otherwise_are_said_and_can_be_given(prepare, ssv1, command):
    shutil.rmtree(ssv1 / "frames")
    for folder in (7, 8, 9, 10):
        write_frames(ssv1 / "frames" / str(folder), 3, "img_{:05d}.jpg", first=0)
    status, _, error = prepare(*ssv1_words(ssv1))
    assert status == 2
    assert "the first, 7, has no 00001.jpg, but img_00000.jpg to img_00002.jpg. Set --image-template" in error
    named = ("--image-template", "img_{:05d}.jpg", "--first-frame", "0")
    status, output, _ = prepare(*ssv1_words(ssv1, *named))
    assert status == 0
    trains_and_tests(command, output, num_tested=1)
    assert (ssv1 / "out/somesomev1_rgb_validation_split.txt").read_text() == "10 3 0\n"


def write_ssv2_annotations(folder):
    def entry(number, template):
        return {"id": number, "label": "opening a box", "template": template, "placeholders": ["a box"]}

    start = folder / "something-something-v2-"
    Path(f"{start}labels.json").write_text(json.dumps({"Opening something": "0", "Closing something": "1"}))
    train = [
        entry("1", "Opening [something]"),
        entry("2", "Closing [something]"),
        entry("3", "Opening [something]"),
    ]
    Path(f"{start}train.json").write_text(json.dumps(train))
    Path(f"{start}validation.json").write_text(json.dumps([entry("4", "Closing [something]")]))
    return ("ssv2", "--annotations", folder, "--out", folder / "out")


@pytest.fixture
def ssv2(tmp_path, write_numbered):
    (tmp_path / "videos").mkdir()
    for number in (1, 2, 4):
        shutil.copy(
            write_numbered("a.webm", 20 + number, codec="libvpx-vp9", g="99"),
            tmp_path / f"videos/{number}.webm",
        )
    return (*write_ssv2_annotations(tmp_path), "--videos", tmp_path / "videos")


def ids(path):
    return [entry["id"] for entry in json.loads(path.read_text())]


def test_ssv2_keeps_the_annotations_of_the_videos_that_are_there(prepare, ssv2, tmp_path):
    status, output, _ = prepare(*ssv2)
    out = tmp_path / "out"
    assert status == 1
    assert ids(out / "something-something-v2-train.json") == ["1", "2"]
    assert ids(out / "something-something-v2-validation.json") == ["4"]
    assert json.loads((out / "something-something-v2-labels.json").read_text()) == {
        "Opening something": "0",
        "Closing something": "1",
    }
    assert (out / "missing.txt").read_text() == "train 3: there is no file\n"
    assert output[-1].split()[1:] == [
        "TRAIN.DATASET", "ssv2", "DATA.PATH_TO_DATA_DIR", str(out), "DATA.PATH_PREFIX", f"{tmp_path}/videos",
        "MODEL.NUM_CLASSES", "2",
    ]  # fmt: skip


def test_prepared_ssv2_trains_and_tests(prepare, ssv2, command):
    _, output, _ = prepare(*ssv2)
    trains_and_tests(command, output, num_tested=1)


def test_reencoded_ssv2_trains_and_tests(prepare, ssv2, tmp_path, command):
    _, output, _ = prepare(*ssv2, "--reencode")
    trains_and_tests(command, output, num_tested=1)
    assert shows(tmp_path / "out/videos/2.mp4") == list(range(22))
    with av.open(str(tmp_path / "out/videos/2.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_ssv2_in_shards_is_listed_as_kinetics(prepare, ssv2, tmp_path):
    _, output, _ = prepare(*ssv2, "--shards", "2")
    assert (tmp_path / "out/train.csv").read_text() == "shard-00000.tar/1.webm 0\nshard-00000.tar/2.webm 1\n"
    assert (tmp_path / "out/val.csv").read_text() == "shard-00001.tar/4.webm 1\n"
    assert (tmp_path / "out/categories.txt").read_text() == "Opening something\t0\nClosing something\t1\n"
    assert "TRAIN.DATASET kinetics" in output[-1]
    assert output[-1].endswith("MODEL.NUM_CLASSES 2 DATA.SAMPLING segments DATA.RANDOM_FLIP False")


def test_of_a_video_in_the_folder_and_below_the_one_in_the_folder_is_taken(prepare, ssv2, tmp_path):
    (tmp_path / "videos/1").mkdir()
    shutil.copy(tmp_path / "videos/1.webm", tmp_path / "videos/1/1.webm")
    prepare(*ssv2)
    listed = json.loads((tmp_path / "out/something-something-v2-train.json").read_text())
    assert [entry["id"] for entry in listed] == ["1", "2"]


def test_ssv2_frames_are_listed_as_the_forks_do(prepare, tmp_path):
    for folder, num_frames in ((1, 3), (2, 4), (3, 5), (4, 6)):
        write_frames(tmp_path / "frames" / str(folder), num_frames, "{:06d}.jpg")
    words = write_ssv2_annotations(tmp_path)
    assert prepare(*words, "--frames", tmp_path / "frames")[0] == 0
    assert (tmp_path / "out/somesomev2_rgb_train_split.txt").read_text() == "1 3 0\n2 4 1\n3 5 0\n"
    assert (tmp_path / "out/somesomev2_rgb_validation_split.txt").read_text() == "4 6 1\n"
    assert (tmp_path / "out/category.txt").read_text() == "Opening something\nClosing something\n"


@pytest.fixture
def imagenet(tmp_path):
    val = tmp_path / "ILSVRC2012_img_val"
    write_frames(val, 3, "ILSVRC2012_val_{:08d}.JPEG")
    return tmp_path, ("imagenet", "--val", val, "--out", tmp_path / "out", "--labels")


LABELS = {
    "LOC_val_solution.csv": "ImageId,PredictionString\nILSVRC2012_val_00000002,n01440764 1 2 3 4\n"
    "ILSVRC2012_val_00000001,n02088364 1 2 3 4 n02088364 5 6 7 8\n"
    "ILSVRC2012_val_00000003,n02088364 1 2 3 4\n",
    "val.txt": "ILSVRC2012_val_00000001.JPEG n02088364\nILSVRC2012_val_00000002.JPEG n01440764\n"
    "ILSVRC2012_val_00000003.JPEG n02088364\n",
    "ILSVRC2012_validation_ground_truth.txt": "1\n2\n1\n",
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("link", ["hard", "symbolic"])
def test_imagenet_pictures_are_linked_into_folders_of_their_classes(prepare, imagenet, name, link):
    folder, words = imagenet
    (folder / name).write_text(LABELS[name])
    (folder / "synsets.txt").write_text("n02088364 beagle\nn01440764 tench\n")
    for label in ("n01440764", "n02088364"):
        (folder / "train" / label).mkdir(parents=True)
    words = (
        *words,
        folder / name,
        "--synsets",
        folder / "synsets.txt",
        "--train",
        folder / "train",
        "--link",
        link,
    )
    for _ in range(2):  # the second time all is there
        status, output, _ = prepare(*words)
        assert status == 0
        assert output[0] == f"{folder}/out/val: 3 pictures of 2 classes"
        found = sorted(str(path.relative_to(folder / "out")) for path in (folder / "out/val").rglob("*.JPEG"))
        assert found == [
            "val/n01440764/ILSVRC2012_val_00000002.JPEG",
            "val/n02088364/ILSVRC2012_val_00000001.JPEG",
            "val/n02088364/ILSVRC2012_val_00000003.JPEG",
        ]
        picture = folder / "out" / found[0]
        assert picture.is_symlink() is (link == "symbolic")
        assert picture.samefile(folder / "ILSVRC2012_img_val/ILSVRC2012_val_00000002.JPEG")
        assert sorted(path.name for path in (folder / "out/train").iterdir()) == ["n01440764", "n02088364"]


def test_prepared_imagenet_trains_and_tests(prepare, imagenet, command):
    folder, words = imagenet
    (folder / "val.txt").write_text(LABELS["val.txt"])
    for label in ("n01440764", "n02088364"):
        write_frames(folder / "train" / label, 2, f"{label}_{{}}.JPEG")
    _, output, _ = prepare(*words, folder / "val.txt", "--train", folder / "train")
    trains_and_tests(command, output, num_tested=3, overrides=["TEST.NUM_ENSEMBLE_VIEWS", "1"])


def test_imagenet_in_shards_is_read_as_from_folders(prepare, imagenet, command):
    folder, words = imagenet
    (folder / "val.txt").write_text(LABELS["val.txt"])
    for label in ("n01440764", "n02088364"):
        write_frames(folder / "train" / label, 3, f"{label}_{{}}.JPEG")
    (folder / "train/n01440764/._n01440764_1.JPEG").write_bytes(b"of macOS")
    words = (*words, folder / "val.txt", "--train", folder / "train")
    for _ in range(2):  # the second time all is there
        status, output, _ = prepare(*words, "--shards", "4")
        assert status == 0
        assert output[:2] == [
            f"{folder}/out/val: 3 pictures of 2 classes",
            f"{folder}/out/train: 6 pictures of 2 classes",
        ]
    assert sorted(path.name for path in (folder / "out/train").glob("*.tar")) == [
        "shard-00000.tar",
        "shard-00001.tar",
    ]
    records = read_records(f"{folder}/out", "val", prefix="", separator=" ")
    assert [(Path(record.path).name, record.label) for record in records] == [
        ("ILSVRC2012_val_00000002.JPEG", 0),
        ("ILSVRC2012_val_00000001.JPEG", 1),
        ("ILSVRC2012_val_00000003.JPEG", 1),
    ]
    trains_and_tests(command, output, num_tested=3, overrides=["TEST.NUM_ENSEMBLE_VIEWS", "1"])
    status, _, error = prepare(*words)
    assert (
        status == 2 and "val/shard-00000.tar is there: tar shards of an earlier run; choose another" in error
    )


def test_shards_are_not_written_beside_linked_pictures(prepare, imagenet):
    folder, words = imagenet
    (folder / "val.txt").write_text(LABELS["val.txt"])
    prepare(*words, folder / "val.txt")
    status, _, error = prepare(*words, folder / "val.txt", "--shards", "4")
    assert status == 2 and "is there: class folders of an earlier run; choose another --out" in error


def test_settings_can_be_pasted_into_a_shell(prepare, imagenet):
    folder, words = imagenet
    (folder / "val.txt").write_text(LABELS["val.txt"])
    out = folder / "it's mine"
    _, output, _ = prepare("imagenet", "--val", words[2], "--out", out, "--labels", folder / "val.txt")
    assert shlex.split(output[-1])[3:5] == ["DATA.PATH_TO_DATA_DIR", str(out)]


def test_numbers_without_the_classes_that_they_stand_for_are_refused(prepare, imagenet):
    folder, words = imagenet
    (folder / "truth.txt").write_text("1\n2\n1\n")
    status, _, error = prepare(*words, folder / "truth.txt")
    assert status == 2 and "give --synsets FILE with the class of every number" in error
    (folder / "synsets.txt").write_text("n02088364\n")
    status, _, error = prepare(*words, folder / "truth.txt", "--synsets", folder / "synsets.txt")
    assert status == 2 and "has 1 lines; number 2 has no class there" in error


def test_a_picture_that_is_missing_is_listed(prepare, imagenet):
    folder, words = imagenet
    (folder / "val.txt").write_text(LABELS["val.txt"] + "ILSVRC2012_val_00000004.JPEG n01440764\n")
    assert prepare(*words, folder / "val.txt")[0] == 1
    assert (
        folder / "out/missing.txt"
    ).read_text() == "val ILSVRC2012_val_00000004: there is no file, n01440764\n"


def kinetics_mistakes(folder):
    annotations, out = ("--annotations", folder / "train.csv"), ("--out", folder / "out")
    videos = ("--videos", folder / "videos")
    (folder / "no_columns.csv").write_text("path,label\na.mp4,0\n")
    (folder / "bad_time.csv").write_text(f"{HEADING}abseiling,abc,twelve,22,train,0\n")
    (folder / "empty").mkdir()
    (folder / "order.txt").write_text("abseiling\nriding bikes\n")
    return [
        ((*annotations, *out, "--videos", "/nowhere"), "--videos /nowhere: there is no such folder."),
        (
            (*annotations, *out, "--videos", folder / "empty"),
            "has none of the 3 annotated videos, such as abc_0000",
        ),
        (("--annotations", "/nowhere.csv", *out, *videos), "/nowhere.csv cannot be read (No such file"),
        (
            ("--annotations", folder / "no_columns.csv", *out, *videos),
            "has no column youtube_id and no time_st",
        ),
        (("--annotations", folder / "bad_time.csv", *out, *videos), "bad_time.csv, line 2: "),
        ((*annotations, *out, *videos, "--label-order", folder / "order.txt"), "such as 'riding a bike'."),
    ]


def test_a_mistake_is_a_line_and_status_2(prepare, kinetics):
    for words, message in kinetics_mistakes(kinetics):
        status, output, error = prepare("kinetics", *words)
        assert (status, output) == (2, [])
        assert message in error and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize("name", ["kinetics", "ssv1", "ssv2", "imagenet"])
def test_help_shows_an_example(name, capsys):
    for words in (["--help"], [name, "--help"]):
        with pytest.raises(SystemExit, match="0"):
            load("prepare_data")(words)
        assert f"python tools/prepare_data.py {name} --" in capsys.readouterr().out
