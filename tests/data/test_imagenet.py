"""A folder a class, a picture a record."""

import pytest

from slowfast_mlp.data.datasets.imagenet import read_records
from slowfast_mlp.data.records import Record
from slowfast_mlp.errors import UserError


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def read(root, split="train"):
    return read_records(str(root), split, prefix="", separator=" ")


def test_the_classes_are_the_folders_in_order_and_records_are_pictures(tmp_path):
    make(tmp_path, "train/dog/b.PNG", "train/dog/a.jpeg", "train/cat/c.webp", "train/cat/notes.txt")
    records = read(tmp_path)
    assert records.label_names == ("cat", "dog")
    assert list(records) == [
        Record(f"{tmp_path}/train/cat/c.webp", 0),
        Record(f"{tmp_path}/train/dog/a.jpeg", 1),
        Record(f"{tmp_path}/train/dog/b.PNG", 1),
    ]


def test_folders_of_wordnet_are_the_only_classes_where_there_are_some(tmp_path):
    make(tmp_path, "train/n02/a.jpg", "train/n01/b.jpg", "train/extra/c.jpg", "train/readme.txt")
    assert read(tmp_path).label_names == ("n01", "n02")


def test_a_split_that_lacks_a_class_keeps_the_labels_of_train(tmp_path):
    make(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg", "val/c/2.jpg", "val/a/2.jpg")
    assert [record.label for record in read(tmp_path, "val")] == [0, 2]
    assert read(tmp_path, "val").label_names == ("a", "b", "c")


def test_without_a_test_folder_val_is_tested_and_without_train_val_has_the_classes(tmp_path):
    make(tmp_path, "val/b/2.jpg", "val/a/2.jpg")
    assert [record.path for record in read(tmp_path, "test")] == [
        f"{tmp_path}/val/a/2.jpg",
        f"{tmp_path}/val/b/2.jpg",
    ]
    make(tmp_path, "test/a/3.jpg")
    assert [record.path for record in read(tmp_path, "test")] == [f"{tmp_path}/test/a/3.jpg"]


def test_what_is_wrong_with_the_folders_is_said(tmp_path):
    with pytest.raises(UserError, match="has no folder train: give the folder that holds train and val"):
        read(tmp_path)
    with pytest.raises(UserError, match="has no folder test and none val"):
        read(tmp_path, "test")
    with pytest.raises(UserError, match="DATA.PATH_TO_DATA_DIR is not set"):
        read("")
    make(tmp_path, "val/ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(
        UserError, match="val has no folders: sort the pictures into a folder for every class"
    ):
        read(tmp_path, "val")
    make(tmp_path, "train/a/1.jpg", "val/b/1.jpg")
    with pytest.raises(UserError, match="val has folders that are no classes of .*train, such as 'b'"):
        read(tmp_path, "val")
    make(tmp_path, "train/b/1.txt")
    with pytest.raises(UserError, match=r"train/b holds no picture \(.jpg, .jpeg, .png, .webp, .bmp\)"):
        read(tmp_path)
