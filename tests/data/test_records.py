"""Lists as arrays: what goes in comes out, workers share it, and its fingerprint tells lists apart."""

import pickle
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from slowfast_mlp.data.records import Record, Records, check_labels, find_missing
from slowfast_mlp.errors import UserError

FINGERPRINT = "0997b36477077ba27428d03d82b20319f49a94ae8e6a7c2814d7f23656a6df8f"
MIXED = [Record("/v/a b.mp4", 3), Record("/f/ä/{:05d}.jpg", 0, 48, 1), Record("/f/c/{:05d}.jpg", 173, 1, 0)]


def test_records_come_out_as_they_went_in():
    records = Records(MIXED, label_names=["one", "two"])
    assert list(records) == MIXED
    assert (records[-1], records[1:]) == (MIXED[2], MIXED[1:])
    assert (records.labels.dtype, records.labels.tolist()) == (torch.int64, [3, 0, 173])
    assert records.label_names == ("one", "two")
    with pytest.raises(IndexError, match="record 3 of 3"):
        records[3]


def test_a_generator_is_enough_and_no_record_is_a_list_too():
    records = Records(Record("x" * (n % 9) + f"{n}.mp4", n, n % 3, n % 2) for n in range(9000))
    assert list(records) == [records[n] for n in range(9000)]
    assert records[8999] == Record("x" * 8 + "8999.mp4", 8999, 2, 1)
    assert list(Records([])) == []


def test_another_process_receives_handles_instead_of_paths():
    records = Records(Record(f"/a/folder/with/a/long/name/{n:08d}.mp4", n % 7) for n in range(20_000))
    assert len(bytes(ForkingPickler.dumps(records))) < 5_000
    assert list(pickle.loads(pickle.dumps(records)))[-1] == records[19_999]


class Paths(Dataset):
    """The records themselves, as items."""

    def __init__(self, records):
        self.records = records

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        return self.records[index]


def test_spawned_workers_read_the_same_records():
    loader = DataLoader(
        Paths(Records(MIXED)),
        batch_size=None,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    assert [tuple(record) for record in loader] == [tuple(record) for record in MIXED]


def test_the_first_file_of_a_folder_is_its_first_picture():
    assert [record.first_file for record in MIXED] == ["/v/a b.mp4", "/f/ä/00001.jpg", "/f/c/00000.jpg"]


def test_a_fingerprint_is_of_names_and_labels_in_any_order_and_place():
    one = Records([Record("/x/a.mp4", 1), Record("/x/7/{:05d}.jpg", 2, 40)])
    moved = Records([Record("/y/z/7/{:06d}.jpg", 2, 41), Record("/y/a.mp4", 1)])
    # sha256sum of the lines "7<tab>2" and "a.mp4<tab>1"
    assert one.fingerprint() == moved.fingerprint()
    assert one.fingerprint() == FINGERPRINT
    assert Records([Record("/x/a.mp4", 2), Record("/x/7/{:05d}.jpg", 2, 40)]).fingerprint() != FINGERPRINT
    assert Records([Record("/x/a.mp4", 1)]).fingerprint() != one.fingerprint()


def test_numbers_too_large_for_a_record_are_refused():
    with pytest.raises(UserError, match="gives '/a.mp4' the label 99999999999999999999, which is too large"):
        Records([Record("/a.mp4", 99999999999999999999)])
    with pytest.raises(UserError, match="the first frame 2147483648, which is too large to be one"):
        Records([Record("/{}.jpg", 0, 5, 2**31)])
    assert Records([Record("/{}.jpg", 2**31 - 1, 2**31 - 1)])[0] == Record("/{}.jpg", 2147483647, 2147483647)


def test_a_name_that_is_not_in_utf_8_is_refused():
    with pytest.raises(UserError, match=r"The name of '/v/caf\\udce9.jpg' is not in UTF-8; rename it"):
        Records([Record(b"/v/caf\xe9.jpg".decode(errors="surrogateescape"), 0)])


def test_labels_outside_the_classes_are_refused():
    records = Records([Record("a.mp4", 0), Record("b.mp4", 2)])
    check_labels(records, 3, "train")
    with pytest.raises(
        UserError, match=r"train list gives 'b.mp4' the label 2; MODEL.NUM_CLASSES 2 allows 0 to 1"
    ):
        check_labels(records, 2, "train")
    with pytest.raises(UserError, match="label -1"):
        check_labels(Records([Record("a", -1)]), 2, "train")


def test_another_number_of_names_than_of_classes_is_refused():
    records = Records([Record("a.mp4", 0)], label_names=("left", "right"))
    check_labels(records, 2, "train")
    with pytest.raises(UserError, match="names 2 classes; MODEL.NUM_CLASSES is 174. Set MODEL.NUM_CLASSES 2"):
        check_labels(records, 174, "train")


def test_missing_files_are_counted_and_none_is_an_error(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "00001.jpg").touch()
    there = [Record(f"{tmp_path}/a.mp4", 0), Record(f"{tmp_path}/{{:05d}}.jpg", 0, 1)]
    assert find_missing(Records([*there, Record("/nowhere.mp4", 0)]), "train") == (["/nowhere.mp4"], 3)
    with pytest.raises(
        UserError, match=r"None of 2 videos .* test list exists; the first is /a.mp4. Set DATA.PATH_PREFIX"
    ):
        find_missing(Records([Record("/a.mp4", 0), Record("/b.mp4", 0)]), "test")
    with pytest.raises(UserError, match=r"first is /f/00001.jpg. Set DATA.PATH_PREFIX to the folder"):
        find_missing(Records([Record("/f/{:05d}.jpg", 0, 3)]), "test")


@pytest.mark.parametrize(
    ("names", "first_frame", "message"),
    [
        (
            ["00001.jpg", "00002.jpg"],
            0,
            "00000.jpg. There are 00001.jpg to 00002.jpg: set DATA.ARGS.first",
        ),
        (
            ["00000.jpg", "00001.jpg"],
            1,
            "00002.jpg. There are 00000.jpg to 00001.jpg: set DATA.ARGS.first",
        ),
        (
            ["i_1.jpg", "i_2.jpg"],
            1,
            "00001.jpg. The folder has 2 files, i_1.jpg to i_2.jpg: set DATA.ARGS.",
        ),
        (
            ["00001.jpg"],
            1,
            "00002.jpg. The folder has 1 files, 00001.jpg to 00001.jpg: set DATA.ARGS.",
        ),
    ],
)
def test_pictures_with_other_numbers_or_names_are_told_with_the_setting(
    tmp_path, names, first_frame, message
):
    for name in names:
        (tmp_path / name).touch()
    record = Record(f"{tmp_path}/{{:05d}}.jpg", 0, 2, first_frame)
    with pytest.raises(UserError) as refusal:
        find_missing(Records([record]), "train")
    assert f"the first is {tmp_path}/{message}" in str(refusal.value)


def test_a_path_that_ends_in_a_number_may_be_of_a_list_with_three_columns():
    hint = "'/v/a b.mp4 300' ends in a number: for lists `path frames label` set DATA.ARGS.columns 3."
    records = Records([Record("/v/a b.mp4 300", 7)])
    with pytest.raises(UserError) as refusal:
        find_missing(records, "train")
    assert str(refusal.value).endswith(hint)
    with pytest.raises(UserError) as refusal:
        check_labels(records, 5, "train")
    assert str(refusal.value).endswith(hint)
    with pytest.raises(UserError, match="Mend the list or the setting.$"):
        check_labels(Records([Record("/v/take 3", 7)]), 5, "train")
