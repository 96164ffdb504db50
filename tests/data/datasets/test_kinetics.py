"""Kinetics lists as people write them."""

import pytest

from slowfast_mlp.data.datasets.kinetics import read_records
from slowfast_mlp.data.records import Record
from slowfast_mlp.errors import UserError


@pytest.fixture
def read(tmp_path):
    """Reads a train list of the given text."""

    def read(text: str, *, prefix: str = "", separator: str = " ", **arguments):
        (tmp_path / "train.csv").write_text(text)
        return list(read_records(str(tmp_path), "train", prefix=prefix, separator=separator, **arguments))

    return read


def test_a_line_is_a_path_and_a_label(read):
    assert read("a.mp4 3\nb/c.mp4 0\n", prefix="/v") == [Record("/v/a.mp4", 3), Record("/v/b/c.mp4", 0)]


def test_paths_may_hold_the_separator(read):
    assert read("riding a bike/x 1.mp4 3\n", prefix="/v") == [Record("/v/riding a bike/x 1.mp4", 3)]
    assert read("a,b.mp4,12\n", prefix="/v", separator=",") == [Record("/v/a,b.mp4", 12)]


def test_absolute_paths_stay_and_relative_ones_start_from_the_prefix_or_the_list(read, tmp_path):
    assert read("/abs/a.mp4 1\nb.mp4 2", prefix="/v") == [Record("/abs/a.mp4", 1), Record("/v/b.mp4", 2)]
    assert read("b.mp4 2") == [Record(f"{tmp_path}/b.mp4", 2)]


def test_blank_lines_and_line_ends_of_windows_are_passed_over(read):
    assert read("\r\na.mp4 1\r\n\r\n", prefix="/v") == [Record("/v/a.mp4", 1)]


def test_tabs_separate_too(read):
    assert read("a b.mp4\t7\n", prefix="/v", separator="\t") == [Record("/v/a b.mp4", 7)]


def test_a_tab_may_be_written_as_a_shell_hands_it_over(read):
    assert read("a b.mp4\t7\n", prefix="/v", separator="\\t") == [Record("/v/a b.mp4", 7)]


def test_a_byte_order_mark_is_no_part_of_the_first_path(read):
    assert read("\ufeffa.mp4 7\n", prefix="/v") == [Record("/v/a.mp4", 7)]


def test_a_list_that_is_no_text_is_named(read, tmp_path):
    (tmp_path / "val.csv").write_bytes(b"\xe9.mp4 1\n")
    with pytest.raises(UserError, match="val.csv is not a text file in UTF-8"):
        read_records(str(tmp_path), "val", prefix="", separator=" ")


@pytest.mark.parametrize(
    ("text", "separator", "message"),
    [
        ("", " ", r"train.csv is empty"),
        ("\n\n", " ", r"train.csv is empty"),
        (
            "a.mp4,3\n",
            " ",
            r"line 1: 'a.mp4,3' has no whole number behind .* Set DATA.PATH_LABEL_SEPARATOR to ','",
        ),
        ("ok.mp4,3\na.mp4 3\n", ",", r"line 2: 'a.mp4 3' .* Set DATA.PATH_LABEL_SEPARATOR to ' '"),
        ("a.mp4\n", " ", r"line 1: 'a.mp4' has no whole number .* Write `path label`"),
        ("a.mp4 bike\n", " ", r"line 1: 'a.mp4 bike'"),
    ],
)
def test_a_list_that_does_not_fit_is_named_with_its_line(read, text, separator, message):
    with pytest.raises(UserError, match=message):
        read(text, separator=separator)


def test_a_missing_list_names_the_folder(tmp_path):
    with pytest.raises(UserError, match=rf"DATA.PATH_TO_DATA_DIR '{tmp_path}' has no train.csv"):
        read_records(str(tmp_path), "train", prefix="", separator=" ")
    with pytest.raises(UserError, match="DATA.PATH_TO_DATA_DIR is not set"):
        read_records("", "train", prefix="", separator=" ")


def test_without_a_test_list_the_validation_list_is_tested(tmp_path):
    (tmp_path / "val.csv").write_text("a.mp4 1\n")
    assert list(read_records(str(tmp_path), "test", prefix="/v", separator=" ")) == [Record("/v/a.mp4", 1)]
    (tmp_path / "test.csv").write_text("b.mp4 1\n")
    assert list(read_records(str(tmp_path), "test", prefix="/v", separator=" ")) == [Record("/v/b.mp4", 1)]


def test_a_list_of_three_columns_is_read_when_it_is_said(read):
    text = "riding a bike/x 1.mp4 300 3\n"
    assert read(text, prefix="/v", columns=3) == [Record("/v/riding a bike/x 1.mp4", 3)]
    with pytest.raises(UserError, match="'a.mp4 3' has .* It is `path label`: set DATA.ARGS.columns 2"):
        read("a.mp4 3\n", columns=3)
    with pytest.raises(UserError, match="'a.mp4,300,3' .* Set DATA.PATH_LABEL_SEPARATOR to ','"):
        read("a.mp4,300,3\n", columns=3)
    with pytest.raises(UserError, match="DATA.ARGS columns 4: a list has 2"):
        read(text, columns=4)


@pytest.mark.parametrize(
    "text",
    ["riding a bike\nmarching\n", "marching\t1\nriding a bike\t0\n", "0\triding a bike\n1\tmarching\n"],
)
def test_names_of_classes_are_a_name_a_line_or_names_and_ids(tmp_path, text):
    (tmp_path / "train.csv").write_text("a.mp4 1\n")
    arguments = dict(prefix="", separator=" ")
    assert read_records(str(tmp_path), "train", **arguments).label_names == ()
    (tmp_path / "names.txt").write_text(text)
    records = read_records(str(tmp_path), "train", label_names="names.txt", **arguments)
    assert records.label_names == ("riding a bike", "marching")
    (tmp_path / "names.txt").rename(tmp_path / "categories.txt")
    assert read_records(str(tmp_path), "train", **arguments).label_names == ("riding a bike", "marching")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\t0\nb\n", r"names.txt, line 2: 'b' is no name and id with a tab between"),
        ("1\t0\n", r"line 1: '1 <tab> 0' is no name and id"),
        ("a\t0\nb\t2\n", "its ids are not 0 to 1, each once"),
        ("a\nb\na\n", "gives the name 'a' to two classes"),
        ("", "names.txt is empty"),
    ],
)
def test_what_is_wrong_with_names_of_classes_is_said(tmp_path, text, message):
    (tmp_path / "train.csv").write_text("a.mp4 1\n")
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_records(str(tmp_path), "train", prefix="", separator=" ", label_names="names.txt")
