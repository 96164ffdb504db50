"""ImageNet: pictures in folders of their classes, or in tars."""

import shlex
from pathlib import Path

import pytest

from slowfast_mlp.data.datasets.imagenet import read_records
from tests.apps.prepare_data.running import trains_and_tests, write_frames


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
    trains_and_tests(command, output, num_tested=3)


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
    trains_and_tests(command, output, num_tested=3)
    status, _, error = prepare(*words)
    assert (
        status == 2 and "val/shard-00000.tar is there: tar shards of an earlier run; choose another" in error
    )


def test_without_training_pictures_the_settings_do_not_train(prepare, imagenet):
    folder, words = imagenet
    (folder / "val.txt").write_text(LABELS["val.txt"])
    _, output, _ = prepare(*words, folder / "val.txt")
    assert output[-1].endswith("DATA.NUM_FRAMES 1 TEST.NUM_ENSEMBLE_VIEWS 1 TRAIN.ENABLE False")
    (folder / "train/n01440764").mkdir(parents=True)
    (folder / "train/n02088364").mkdir()
    prepare(*words, folder / "val.txt", "--train", folder / "train")
    _, output, _ = prepare(*words, folder / "val.txt")  # out/train is still there
    assert output[-1].endswith("DATA.NUM_FRAMES 1 TEST.NUM_ENSEMBLE_VIEWS 1")


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
