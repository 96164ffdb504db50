"""Which records a skip list leaves out, however it names them."""

import pytest

from slowfast_mlp.data.records import Record
from slowfast_mlp.data.skip_list import kept_positions, read_skip_list
from slowfast_mlp.errors import UserError

RECORDS = [Record("/v/a.mp4", 0), Record("/v/b/c.mp4", 0), Record("/v/{{7}}/{:05d}.jpg", 0, 3)]


def test_a_list_has_a_path_a_line_and_remarks_behind_tabs(tmp_path):
    (tmp_path / "skip.txt").write_text("/v/a.mp4\tis cut off\n\n b/c.mp4 \n/v/7/\n")
    assert read_skip_list(str(tmp_path / "skip.txt")) == {"/v/a.mp4", "b/c.mp4", "/v/7/"}
    with pytest.raises(UserError, match="DATA.SKIP_LIST '/nowhere.txt' cannot be read"):
        read_skip_list("/nowhere.txt")


@pytest.mark.parametrize(
    ("skipped", "kept"),
    [
        ("/v/a.mp4", [1, 2]),
        ("b/c.mp4", [0, 2]),
        ("c.mp4", [0, 1, 2]),
        ("/v/{{7}}/{:05d}.jpg", [0, 1]),
        ("{{7}}/{:05d}.jpg", [0, 1]),
        ("/v/{7}", [0, 1]),
        ("{7}", [0, 1]),
    ],
)
@pytest.mark.parametrize("prefix", ["/v", "/v/"])
def test_a_record_goes_by_its_whole_path_or_that_of_its_list_and_frames_by_their_folder(
    skipped, kept, prefix
):
    used = {skipped} if len(kept) < 3 else set()
    assert kept_positions(RECORDS, {skipped}, prefix=prefix) == (kept, used)


def test_paths_that_leave_nothing_out_are_told_from_those_that_do():
    skipped = {"a.mp4", "/v/a.mp4", "gone.mp4"}
    assert kept_positions(RECORDS, skipped, prefix="/v") == ([1, 2], {"a.mp4", "/v/a.mp4"})


@pytest.mark.parametrize(
    "skipped", ["/v//a.mp4", "/v/b/../a.mp4", "./a.mp4", "b/../a.mp4", "../v/a.mp4", "../videos/../v/./a.mp4"]
)
def test_a_path_counts_however_it_is_spelt(skipped, monkeypatch):
    monkeypatch.chdir("/tmp")
    for prefix in ("/v", "/v/.", "../v"):
        assert kept_positions(RECORDS, {skipped}, prefix=prefix) == ([1, 2], {skipped})


def test_a_list_of_relative_paths_and_one_of_whole_paths_mean_the_same_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records = [Record("./data/a.mp4", 0), Record("data//7/{:05d}.jpg", 0, 3)]
    for skipped in (
        {f"{tmp_path}/data/a.mp4", f"{tmp_path}/data/7"},
        {"data/a.mp4", "data/7/"},
        {"a.mp4", "7"},
    ):
        assert kept_positions(records, skipped, prefix="data") == ([], skipped)


def test_one_file_under_two_spellings_uses_both():
    skipped = {"a.mp4", "./a.mp4"}
    assert kept_positions(RECORDS, skipped, prefix="/v") == ([1, 2], skipped)
