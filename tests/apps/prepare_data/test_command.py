"""The command line of tools/prepare_data.py: mistakes, and what its help says."""

import json

import pytest

from tests.apps.prepare_data.running import HEADING, kinetics_words
from tests.conftest import main_of


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
            main_of("prepare_data")(words)
        assert f"python tools/prepare_data.py {name} --" in capsys.readouterr().out


def test_a_flag_of_the_reencoding_without_it_is_refused(prepare, kinetics):
    for flags, named in (
        (["--gop", "15"], "--gop"),
        (["--short-side", "320", "--fast-decode"], "--short-side, --fast-decode"),
    ):
        status, _, error = prepare(*kinetics_words(kinetics, *flags))
        assert status == 2
        assert error == (
            f"error: {named} says how --reencode re-encodes videos: add --reencode, or leave it out.\n"
        )
        assert not (kinetics / "out/train.csv").exists()


def test_lists_of_reencoded_videos_are_not_led_back_to_the_originals(prepare, kinetics):
    prepare(*kinetics_words(kinetics, "--reencode"))
    before = (kinetics / "out/train.csv").read_text()
    status, _, error = prepare(*kinetics_words(kinetics))
    assert status == 2
    assert f"{kinetics}/out/videos holds videos that an earlier run re-encoded" in error
    assert "Add --reencode, choose another --out, or remove" in error
    assert (kinetics / "out/train.csv").read_text() == before


def test_a_place_that_cannot_be_written_is_named_with_its_flag(prepare, kinetics):
    (kinetics / "file").write_text("")
    words = ("kinetics", "--annotations", kinetics / "train.csv", "--videos", kinetics / "videos", "--out")
    for out, reason in (
        ("/proc/lists", "/proc/lists: No such file or directory"),
        (kinetics / "file/lists", f"{kinetics}/file/lists: Not a directory"),
    ):
        assert prepare(*words, out)[::2] == (
            2,
            f"error: --out {out} cannot be written to ({reason}). Mend that, or choose another.\n",
        )
    (kinetics / "out/train.csv").mkdir(parents=True)  # a list cannot take the place of a folder
    status, _, error = prepare(*words, kinetics / "out")
    assert status == 2 and error.startswith(f"error: --out {kinetics}/out cannot be written to (")


def test_json_holds_what_was_written_and_the_settings(prepare, kinetics):
    status, output, _ = prepare(*kinetics_words(kinetics, "--json"))
    (line,) = output
    written = json.loads(line)
    assert status == 1
    assert written["said"][0] == f"{kinetics}/out/train.csv: 2 videos"
    assert written["left_out"] == ["train gone_000000_000010: there is no file, abseiling"]
    assert written["settings"]["MODEL.NUM_CLASSES"] == "2"


def test_lists_of_videos_in_shards_are_not_led_back_to_the_files(prepare, kinetics):
    prepare(*kinetics_words(kinetics, "--shards", "3"))
    before = (kinetics / "out/train.csv").read_text()
    status, _, error = prepare(*kinetics_words(kinetics))
    assert status == 2
    assert f"{kinetics}/out/shards holds tar shards of an earlier run, and its lists lead there" in error
    assert f"Add --shards, choose another --out, or remove {kinetics}/out/shards." in error
    assert (kinetics / "out/train.csv").read_text() == before
