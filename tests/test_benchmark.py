"""tools/benchmark.py, end to end in its quick form."""

import json

import pytest

from tests.conftest import main_of


@pytest.fixture
def benchmark(capsys):
    """Runs the tool; returns status, output and error."""

    def benchmark(*words):
        status = main_of("benchmark")(list(map(str, words)))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return benchmark


def tables_of(path):
    return {table["title"]: table for table in json.loads(path.read_text())["tables"]}


def test_the_section_data_compares_our_loader_with_the_plain_way(benchmark, tmp_path):
    pytest.importorskip("decord")
    status, out, _ = benchmark("data", "--quick", "--json", tmp_path / "data.json")
    assert status == 0
    assert "| loader " in out and "x plain" in out and "load average" in out
    tables = tables_of(tmp_path / "data.json")
    rows = {
        row[0]: row for row in tables["Kinetics-like, h264 340x256, 10 s, a keyframe in 250 frames"]["rows"]
    }
    assert set(rows) == {
        "plain way", "exact", "fused", "device, the host's part", "bare decoder", "fused, by decord",
        "device, all on this CPU",
    }  # fmt: skip
    assert rows["plain way"][6] == 1
    assert {"Testing with 4x1 views", "Testing with 1x3 views"} <= set(tables)
    counts = tables["Counts: Kinetics-like, h264 340x256, 10 s, a keyframe in 250 frames"]["rows"]
    assert [row[2] for row in counts] == [64, 16, 16, 16]


def test_the_section_data_measures_the_videos_of_a_list(benchmark, corpus, tmp_path):
    words = ("--list", corpus / "train.csv", "--videos", 2, "--json", tmp_path / "list.json")
    status, out, _ = benchmark("data", "--quick", *words)
    assert status == 0
    assert "videos of the list" in tables_of(tmp_path / "list.json")
    assert "give --model NAME VARIANT" in out


def test_a_list_without_a_video_that_can_be_decoded_is_an_error(benchmark, tmp_path):
    (tmp_path / "list.csv").write_text("missing.mp4 0\n")
    status, _, err = benchmark("data", "--quick", "--list", tmp_path / "list.csv")
    assert status == 2
    assert "none of 8 videos can be decoded" in err and "missing.mp4" in err


def test_the_section_step_compares_the_training_loop_with_a_bare_one(benchmark, tmp_path):
    words = ("--quick", "--steps", 2, "--fake-data", "--json", tmp_path / "step.json")
    status, out, err = benchmark("step", *words)
    assert status == 0
    assert "The host waited for the device 1 times in 2 steps, 1 of them with a line" in out
    assert "epoch 1/1" in err and "epoch 1/1" not in out  # lines of the run are not the table
    loops, parts, optimisers = tables_of(tmp_path / "step.json").values()
    assert [row[0] for row in loops["rows"]] == ["bare loop", "training loop"]
    assert [row[0] for row in parts["rows"]] == [
        "data wait", "to device", "targets, mix", "forward", "loss, backward", "optimiser", "sums",
    ]  # fmt: skip
    shares = [float(row[2]) for row in parts["rows"]]
    assert sum(shares) == pytest.approx(100, abs=0.1)
    assert min(shares[3:6]) > 0
    assert [row[0] for row in optimisers["rows"]] == ["AdamW, torch's default", "AdamW, foreach", "ours"]
    assert optimisers["rows"][0][4] == 1


def test_the_section_step_names_what_limits_a_training_from_videos(benchmark, tmp_path):
    status, out, _ = benchmark("step", "--quick", "--steps", 2, "--json", tmp_path / "step.json")
    assert status == 0
    limits = tables_of(tmp_path / "step.json")["What limits"]["rows"]
    assert [row[0] for row in limits] == ["loader", "backbone", "both"]
    slower = min(limits[:2], key=lambda row: float(row[1]))[0]
    assert f"With one worker the {slower} limits the training" in out
    benchmark("step", "--quick", "--fake-model", "--json", tmp_path / "loader.json")
    assert [row[0] for row in tables_of(tmp_path / "loader.json")["What limits"]["rows"]] == ["loader"]


def test_a_step_without_data_and_model_is_refused(benchmark):
    status, _, err = benchmark("step", "--quick", "--fake-data", "--fake-model")
    assert (status, "leave nothing to measure" in err) == (2, True)


def test_an_unknown_section_is_answered_with_those_there_are(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark("speed")
    assert "'data'" in capsys.readouterr().err


def test_the_section_floor_measures_products_and_copies_in_both_precisions(benchmark, tmp_path):
    status, _, _ = benchmark("floor", "--quick", "--json", tmp_path / "floor.json")
    assert status == 0
    rows = tables_of(tmp_path / "floor.json")["Floor"]["rows"]
    assert [row[0] for row in rows] == ["fp32", "bf16"]
    assert all(rate > 0 for row in rows for rate in row[1:])


def test_the_section_model_compares_a_backbone_with_its_reference(benchmark, tmp_path):
    json_path, history = tmp_path / "model.json", tmp_path / "history.csv"
    words = ("--precision", "fp32", "--json", json_path, "--history", history)
    assert benchmark("model", "morphmlp", "S", "--quick", *words)[0] == 0
    tables = tables_of(json_path)
    assert list(tables) == [
        "morphmlp S, forward, fp32, batches of 1, 4x32x32", "morphmlp S, train, fp32, batches of 1, 4x32x32",
    ]  # fmt: skip
    forward, train = tables.values()
    assert [row[0] for row in forward["rows"]] == ["reference", "ours"]
    columns = forward["columns"]
    reference, ours = (dict(zip(columns, row)) for row in forward["rows"])
    assert reference["x reference"] == 1 and reference["max abs diff"] == "0.0e+00"
    assert float(ours["max abs diff"]) < 1e-5
    assert reference["saved MiB/clip"] == "-"
    assert dict(zip(columns, train["rows"][0]))["saved MiB/clip"] > 0
    lines = history.read_text().splitlines()
    assert len(lines) == 1 + 4 and ",train,ours," in lines[-1]


@pytest.mark.parametrize("name", ["mobile_former", "vast", "posmlp_video"])
def test_every_video_backbone_has_a_straightforward_form_to_be_compared_with(benchmark, tmp_path, name):
    variant = {"mobile_former": "26M", "vast": "Ti", "posmlp_video": "S"}[name]
    words = ("--passes", "forward", "--precision", "fp32", "--batch", 2, "--json", tmp_path / "model.json")
    assert benchmark("model", name, variant, "--quick", *words)[0] == 0
    (table,) = tables_of(tmp_path / "model.json").values()
    rows = {row[0]: dict(zip(table["columns"], row)) for row in table["rows"]}
    assert list(rows) == ["reference", "ours"]
    assert float(rows["ours"]["max abs diff"]) < 1e-5


PEER = """
from slowfast_mlp.models.morphmlp import MorphMLP as Same

class MorphMLP(Same):
    def __init__(self, cfg):
        super().__init__(
            num_classes=cfg.MODEL.NUM_CLASSES, num_frames=4, crop_size=cfg.DATA.TRAIN_CROP_SIZE,
            depths=cfg.MORPH.LAYERS, dims=cfg.MORPH.EMBED_DIMS, temporal_init="untied",
        )

    def forward(self, x):
        return super().forward(x[0]) + 0.25
"""


def test_the_section_model_compares_ours_with_a_checkout_by_the_checkouts_weights(benchmark, tmp_path):
    file = tmp_path / "slowfast" / "models" / "morphmlp.py"
    file.parent.mkdir(parents=True)
    file.write_text(PEER)
    words = ("--passes", "forward", "--precision", "fp32", "--json", tmp_path / "model.json")
    assert benchmark("model", "morphmlp", "S", "--quick", *words, "--peer", f"morphmlp={tmp_path}")[0] == 0
    (table,) = tables_of(tmp_path / "model.json").values()
    rows = {row[0]: dict(zip(table["columns"], row)) for row in table["rows"]}
    assert list(rows) == ["reference", "ours", "MTLab/MorphMLP"]
    assert rows["MTLab/MorphMLP"]["max abs diff"] == "2.5e-01"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("morphmlp",), "give pairs of a name and a variant"),
        (("morphmlp", "S", "--peer", "unknown=x"), "NAME is one of morphmlp, posmlp, slowfast, mmaction2"),
        (("morphmlp", "S", "--peer", "morphmlp=/nowhere"), "there is no folder slowfast in it"),
        (("morphmlp", "XXL"), "MODEL.VARIANT 'XXL'"),
    ],
)
def test_the_section_model_refuses_what_it_cannot_measure(benchmark, words, message):
    status, _, err = benchmark("model", *words, "--quick")
    assert status == 2
    assert message in err


def test_the_section_eval_measures_loader_and_backbone_beside_the_plain_way(benchmark, tmp_path):
    assert benchmark("eval", "--quick", "--precision", "fp32", "--json", tmp_path / "eval.json")[0] == 0
    (table,) = tables_of(tmp_path / "eval.json").values()
    parts = ["plain loader", "loader", "plain loader, reference in fp32", "loader and backbone"]
    assert [row[:2] for row in table["rows"]] == [
        [views, part] for views in ("1x3 views", "4x1 views") for part in parts
    ]
    rows = [dict(zip(table["columns"], row)) for row in table["rows"]]
    assert [row["x plain"] for row in rows if "plain" in row["part"]] == [1, 1, 1, 1]
    assert all(row["x plain"] > 0 for row in rows)
