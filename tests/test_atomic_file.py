"""A file appears when it is whole, under a name that no other process writes to."""

import os
from pathlib import Path

import pytest

from slowfast_mlp.atomic_file import atomic_write, is_device


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_when_it_is_whole(tmp_path):
    (tmp_path / "list.csv").write_text("old")
    with atomic_write(tmp_path / "list.csv") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "list.csv").read_text() == "old"
    assert (tmp_path / "list.csv").read_text() == "new"
    assert names_in(tmp_path) == ["list.csv"]


def test_what_fails_half_way_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "list.csv").write_text("old")
    with pytest.raises(ValueError, match="half way"), atomic_write(tmp_path / "list.csv") as temporary:
        temporary.write_text("ne")
        raise ValueError("half way")
    assert (tmp_path / "list.csv").read_text() == "old"
    assert names_in(tmp_path) == ["list.csv"]


def test_two_writers_of_one_file_do_not_meet_even_with_equal_process_ids(tmp_path):
    """As on two machines that share a file system."""
    with atomic_write(tmp_path / "a") as first, atomic_write(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
        assert first != second
        assert all(path.name.startswith(".a.") and path.suffix == ".part" for path in (first, second))
    assert (tmp_path / "a").read_text() == "first"
    assert names_in(tmp_path) == ["a"]


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path):
    with atomic_write(tmp_path / ("x" * 255)) as temporary:
        temporary.write_text("whole")
    assert (tmp_path / ("x" * 255)).read_text() == "whole"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(tmp_path / "pipe") as temporary:
        temporary.write_text("all of it")
    assert os.read(reader, 100) == b"all of it"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo() and len(list(tmp_path.iterdir())) == 1


def test_devices_and_the_names_of_open_files_are_never_replaced(tmp_path):
    (tmp_path / "file").touch()
    assert [is_device(Path(path)) for path in ("/dev/null", "/dev/stdout", tmp_path / "file", tmp_path)] == [
        True,
        True,
        False,
        False,
    ]
