"""Videos in tar files: the same frames as from files of their own, found by an index that cannot grow old."""

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
import torch

from slowfast_mlp.data import tar_files
from slowfast_mlp.data.records import Record, find_missing
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.video import open_video
from slowfast_mlp.errors import UserError
from tests.conftest import numbers_shown

LONG_NAME = f"{'folder/' * 20}{'x' * 120}.bin"  # longer than a header's hundred bytes
CONTENTS = {"b.txt": b"hello", "sub/a b.jpg": b"\xff" * 1000, "empty": b"", LONG_NAME: b"long"}


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "shard-00000.tar"
    tar_files.write_shard(path, CONTENTS.items())
    return path


def index_of(shard):
    return Path(f"{shard}.index")


def test_a_path_through_a_tar_is_taken_apart():
    assert tar_files.split_path("/d/s-0.tar/a/b.mp4") == ("/d/s-0.tar", "a/b.mp4")
    assert tar_files.split_path("s.tar/b.mp4") == ("s.tar", "b.mp4")
    assert tar_files.split_path("/d/b.mp4") is None
    assert tar_files.split_path("/d/s.tar") is None
    assert tar_files.split_path("/d/s.tar/") is None
    assert tar_files.split_path("/d/s.tar.gz/b.mp4") is None


def test_members_are_read_as_they_were_written(shard):
    for name, contents in CONTENTS.items():
        assert tar_files.read_member(f"{shard}/{name}") == contents
        assert tar_files.exists(f"{shard}/{name}")


def test_the_tar_is_one_that_tar_reads_and_the_index_gives_names_offsets_and_sizes(shard):
    with tarfile.open(shard) as tar:
        assert {name: tar.extractfile(name).read() for name in tar.getnames()} == CONTENTS
    first, *lines = [line.split("\t") for line in index_of(shard).read_text().splitlines()]
    assert first == [str(shard.stat().st_size), str(shard.stat().st_mtime_ns)]
    assert [name for name, _, _ in lines] == list(CONTENTS)
    assert [int(size) for _, _, size in lines] == [5, 1000, 0, 4]
    data = shard.read_bytes()
    for name, offset, _ in lines[:3]:  # the header of the long name is another one
        assert data[int(offset) :].startswith(f"{name}\0".encode())
    assert sorted(path.name for path in shard.parent.iterdir()) == [shard.name, f"{shard.name}.index"]


def test_a_missing_index_is_made_again_and_kept(shard, caplog):
    before = index_of(shard).read_bytes()
    index_of(shard).unlink()
    assert tar_files.read_member(f"{shard}/b.txt") == b"hello"
    assert "shard-00000.tar.index is missing, and is made again" in caplog.text
    assert index_of(shard).read_bytes() == before


@pytest.mark.parametrize("changed", ["size", "time"])
def test_the_index_of_an_earlier_tar_of_that_name_is_not_believed(shard, caplog, changed):
    assert tar_files.read_member(f"{shard}/b.txt") == b"hello"
    kept, time = index_of(shard).read_bytes(), shard.stat().st_mtime_ns
    files = [("c.txt", b"new"), ("b.txt", b"other")]
    size = shard.stat().st_size
    tar_files.write_shard(shard, files if changed == "time" else [*files, ("d", bytes(20_000))])
    index_of(shard).write_bytes(kept)
    if changed == "size":
        os.utime(shard, ns=(time, time))
    assert (shard.stat().st_size == size) is (changed == "time")
    assert (shard.stat().st_mtime_ns == time) is (changed == "size")
    assert tar_files.read_member(f"{shard}/b.txt") == b"other"
    assert "is not of its tar as it is now, and is made again" in caplog.text
    assert not tar_files.exists(f"{shard}/sub/a b.jpg")


def test_a_member_is_read_under_its_own_name_only(shard):
    """Two tars of one size, made in the same tick of a coarse clock: nothing but the headers tells."""
    kept, time = index_of(shard).read_bytes(), shard.stat().st_mtime_ns
    renamed = {"a.txt" if name == "b.txt" else name: contents for name, contents in CONTENTS.items()}
    tar_files.write_shard(shard, renamed.items())
    index_of(shard).write_bytes(kept)
    os.utime(shard, ns=(time, time))
    with pytest.raises(OSError, match=r"shard-00000.tar.index is not the index of this tar; delete it"):
        tar_files.read_member(f"{shard}/b.txt")
    assert tar_files.read_member(f"{shard}/sub/a b.jpg") == b"\xff" * 1000


@pytest.mark.parametrize("text", ["nonsense\n", "", "b.txt\t0\t5\n"])
def test_an_index_that_is_none_is_made_again(shard, text, caplog):
    index_of(shard).write_text(text)
    assert tar_files.read_member(f"{shard}/b.txt") == b"hello"
    assert "is not of its tar as it is now, and is made again" in caplog.text
    assert tar_files.member_names(str(shard)) == list(CONTENTS)


def test_an_index_torn_off_at_its_end_is_made_again(shard, caplog):
    index_of(shard).write_bytes(index_of(shard).read_bytes()[:-1])
    assert tar_files.read_member(f"{shard}/{LONG_NAME}") == b"long"
    assert "made again" in caplog.text


def test_where_the_index_cannot_be_written_the_tar_is_scanned(shard, caplog, monkeypatch):
    index_of(shard).unlink()
    index_of(shard).mkdir()  # nothing can be renamed onto it, not even by root
    assert tar_files.read_member(f"{shard}/b.txt") == b"hello"
    assert "every process has to scan the tar" in caplog.text


def test_a_shard_that_fails_half_way_leaves_nothing(tmp_path):
    def files():
        yield "a.txt", b"a"
        yield "b.txt", tmp_path / "missing.txt"

    with pytest.raises(FileNotFoundError):
        tar_files.write_shard(tmp_path / "s.tar", files())
    with pytest.raises(ValueError, match="'a\\\\tb' of a shard's member holds a tab"):
        tar_files.write_shard(tmp_path / "s.tar", [("a\tb", b"")])
    assert list(tmp_path.iterdir()) == []


def test_of_a_tar_made_by_tar_only_files_are_members(tmp_path):
    """Its names start with `./`; folders and links have no contents of their own."""
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as tar:
        folder, link, file = (tarfile.TarInfo(name) for name in ("./d", "./d/link", "./d/file"))
        folder.type, link.type, link.linkname, file.size = tarfile.DIRTYPE, tarfile.SYMTYPE, "file", 2
        tar.addfile(folder)
        tar.addfile(link)
        tar.addfile(file, io.BytesIO(b"ok"))
    assert tar_files.read_member(f"{path}/d/file") == b"ok"
    assert [tar_files.exists(f"{path}/{name}") for name in ("d", "d/link", "d/fil", "file")] == [False] * 4


@pytest.fixture(scope="module")
def numbered_shard(write_numbered, tmp_path_factory):
    """A shard of three videos whose frames show their numbers, and the paths of the same as files."""
    files = {
        "one.mp4": write_numbered("one.mp4", 50),
        "two.webm": write_numbered("two.webm", 30, codec="libvpx-vp9", deadline="realtime"),
        "sub/three.avi": write_numbered("three.avi", 20, codec="mpeg4", g="5", bf="2"),
    }
    path = tmp_path_factory.mktemp("shards") / "shard-00007.tar"
    tar_files.write_shard(path, files.items())
    return path, files


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize("name", ["one.mp4", "two.webm", "sub/three.avi"])
def test_a_video_in_a_tar_gives_the_frames_of_the_file(numbered_shard, name, decoder):
    path, files = numbered_shard
    with open_video(f"{path}/{name}", decoder) as inside, open_video(files[name], decoder) as alone:
        assert (inside.num_frames, inside.fps) == (alone.num_frames, alone.fps)
        indices = [19, 3, 0, 7]
        assert numbers_shown(inside.read(indices)) == indices
        assert torch.equal(inside.read(indices), alone.read(indices))


def test_a_folder_may_be_called_like_a_tar(numbered_shard, tmp_path):
    _, files = numbered_shard
    (tmp_path / "clips.tar").mkdir()
    path = shutil.copy(files["one.mp4"], tmp_path / "clips.tar")
    assert tar_files.exists(str(path)) and not tar_files.exists(f"{tmp_path}/clips.tar/none.mp4")
    with open_video(str(path), "pyav") as video:
        assert numbers_shown(video.read([4])) == [4]


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_what_is_not_in_the_tar_is_refused_with_its_path(numbered_shard, decoder):
    path, _ = numbered_shard
    with pytest.raises(DecodeError, match=r"none.mp4: cannot be opened .*shard-00007.tar has no member"):
        open_video(f"{path}/none.mp4", decoder)
    with pytest.raises(DecodeError, match=r"/nowhere.tar/none.mp4: cannot be opened \(No such file"):
        open_video("/nowhere.tar/none.mp4", decoder)


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_a_tar_that_is_cut_off_is_refused(numbered_shard, tmp_path, decoder):
    path, _ = numbered_shard
    cut = tmp_path / path.name
    shutil.copy(path, cut)
    os.truncate(cut, 5000)
    with pytest.raises(DecodeError, match="one.mp4"), open_video(f"{cut}/one.mp4", decoder) as video:
        video.read([49])


def test_looking_for_missing_files_looks_into_tars(numbered_shard):
    path, _ = numbered_shard
    records = [Record(f"{path}/one.mp4", 0), Record(f"{path}/none.mp4", 0)]
    assert find_missing(records, "train") == ([f"{path}/none.mp4"], 2)
    with pytest.raises(UserError, match="None of 1 videos"):
        find_missing(records[1:], "train")


def test_a_data_set_in_two_shards_trains_and_tests_as_from_files(command, tmp_path, corpus):
    folder = tmp_path / "tars"
    folder.mkdir()
    members = [[], []]
    for split in ("train", "val", "test"):
        lines = []
        for number, line in enumerate((corpus / f"{split}.csv").read_text().splitlines()):
            path, label = line.rsplit(" ", 1)
            members[number % 2].append((path, corpus / path))
            lines.append(f"shard-0000{number % 2}.tar/{path} {label}\n")
        (folder / f"{split}.csv").write_text("".join(lines))
    for number, files in enumerate(members):
        tar_files.write_shard(folder / f"shard-0000{number}.tar", files)
    status, printed, error = command("OUTPUT_DIR", tmp_path / "files")
    assert (status, error) == (0, "")
    status, printed, error = command("DATA.PATH_TO_DATA_DIR", folder, "OUTPUT_DIR", tmp_path / "out")
    assert (status, error) == (0, "") and "7/7 with a view" in printed
    rows = [
        [line.split(",")[1:] for line in (tmp_path / name / "predictions.csv").read_text().splitlines()]
        for name in ("files", "out")
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 8
