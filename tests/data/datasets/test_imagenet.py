"""A folder a class, a picture a record."""

import pytest

from slowfast_mlp.data.datasets.imagenet import read_records
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.tar_files import read_file, write_shard
from slowfast_mlp.errors import UserError


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def read(root, split="train", prefix=""):
    return read_records(str(root), split, prefix=prefix, separator=" ")


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


def test_hidden_files_are_no_pictures(tmp_path):
    """macOS leaves `._1.JPEG` next to 1.JPEG on file systems of others."""
    make(tmp_path, "train/a/._1.JPEG", "train/a/1.JPEG", "train/a/.DS_Store")
    assert list(read(tmp_path)) == [Record(f"{tmp_path}/train/a/1.JPEG", 0)]


def test_class_folders_in_tars_give_the_records_of_class_folders(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    first = {"n02/b.jpg": b"2b", "n01/c.jpg": b"1c", "extra/d.jpg": b"", "n02/._b.jpg": b"", "n01/x.txt": b""}
    write_shard(tmp_path / "train/shard-00000.tar", first.items())
    write_shard(tmp_path / "train/shard-00001.tar", [("n01/a.jpg", b"1a"), ("n03/a.jpg", b"3a")])
    write_shard(tmp_path / "val/shard-00000.tar", [("n03/v.jpg", b"")])
    records = read(tmp_path)
    assert records.label_names == ("n01", "n02", "n03")
    assert list(records) == [
        Record(f"{tmp_path}/train/shard-00001.tar/n01/a.jpg", 0),
        Record(f"{tmp_path}/train/shard-00000.tar/n01/c.jpg", 0),
        Record(f"{tmp_path}/train/shard-00000.tar/n02/b.jpg", 1),
        Record(f"{tmp_path}/train/shard-00001.tar/n03/a.jpg", 2),
    ]
    assert [read_file(record.path) for record in records] == [b"1a", b"1c", b"2b", b"3a"]
    assert list(read(tmp_path, "test")) == [Record(f"{tmp_path}/val/shard-00000.tar/n03/v.jpg", 2)]


def test_folders_are_read_where_the_tars_they_came_in_lie_beside(tmp_path):
    make(tmp_path, "train/n01/a.jpg")
    write_shard(tmp_path / "train/n01.tar", [("a.jpg", b"")])
    assert list(read(tmp_path)) == [Record(f"{tmp_path}/train/n01/a.jpg", 0)]


def test_what_is_wrong_with_tars_is_said(tmp_path):
    make(tmp_path, "train/shard-00000.tar")
    with pytest.raises(
        UserError, match=r"train/shard-00000.tar cannot be read \(.*is no tar or a damaged one"
    ):
        read(tmp_path)
    write_shard(tmp_path / "train/shard-00000.tar", [("train/n01/a.jpg", b"")])
    with pytest.raises(
        UserError, match="has the picture 'train/n01/a.jpg': in a tar they are called class/p"
    ):
        read(tmp_path)
    write_shard(tmp_path / "train/shard-00000.tar", [("a.jpg", b"")])
    with pytest.raises(UserError, match="train has no folders: sort the pictures into a folder for every"):
        read(tmp_path)


def test_a_prefix_for_the_paths_of_lists_is_refused(tmp_path):
    make(tmp_path, "train/a/1.jpg")
    with pytest.raises(
        UserError, match="DATA.PATH_PREFIX '/pictures' is for the paths of lists; imagenet has"
    ):
        read(tmp_path, prefix="/pictures")


def test_a_name_that_is_not_in_utf_8_is_refused(tmp_path):
    make(tmp_path, "train/a/1.jpg")
    (tmp_path / "train/a" / b"caf\xe9.jpg".decode(errors="surrogateescape")).touch()
    with pytest.raises(UserError, match=r"caf\\udce9.jpg' is not in UTF-8; rename it"):
        read(tmp_path)


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
