"""From a table, weights and lists to a report, by the command line, on small rendered videos."""

import csv
import shlex
import shutil

import pytest
import torch

from slowfast_mlp.config.load import load_config
from slowfast_mlp.run.setup import build_model
from tests.conftest import TINY, main_of

POSMLP = "MODEL.NAME posmlp_video MODEL.VARIANT Nano MODEL.ARGS {}"
TABLE = f"""name,config,overrides,top1,top5,gflops,params,source,note
Zoo/MORPHMLP_A,tiny.yaml,,50.0,90,0.001,0.1,the paper,
Zoo/MORPHMLP_A_left,tiny.yaml,TEST.NUM_SPATIAL_CROPS 1 TEST.SINGLE_CROP first,40.0,,,,the paper,the left crop
Zoo/POSMLP_B,tiny.yaml,{POSMLP},60.0,,,,its README,
Zoo/POSMLP_C,tiny.yaml,{POSMLP} RNG_SEED 1,,,,,no table found,
"""


@pytest.fixture
def data(corpus, tmp_path):
    """A copy of the lists and videos, to be damaged."""
    return shutil.copytree(corpus, tmp_path / "data")


@pytest.fixture
def reproduce(tmp_path, capsys):
    """Runs tools/reproduce.py on tiny models; returns status, report, rows of the CSV and error."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "table.csv").write_text(TABLE)

    def reproduce(*words):
        files = ["--table", str(tmp_path / "table.csv"), "--out", str(tmp_path / "out")]
        opts = ["--opts", "NUM_GPUS", "0", "DATA_LOADER.NUM_WORKERS", "0"]
        status = main_of("reproduce")([*files, *map(str, words), *opts])
        error = capsys.readouterr().err
        report = tmp_path / "out" / "report.md"
        if not report.exists():
            return status, "", {}, error
        with (tmp_path / "out" / "report.csv").open(newline="") as file:
            lines = {line["name"]: line for line in csv.DictReader(file)}
        return status, report.read_text(), lines, error

    return reproduce


@pytest.fixture
def weights(tmp_path):
    """Writes the weights that a model of the table starts with."""

    def weights(name, words=""):
        config = load_config(str(tmp_path / "tiny.yaml"), words.split())
        path = tmp_path / f"{name}.pyth"
        model = build_model(config.model, config.data, config.rng_seed, torch.device("cpu"))
        torch.save({"model_state": model.state_dict()}, path)
        return path

    return weights


def num_tests(folder):
    """How often a row was tested."""
    return (folder / "metrics.jsonl").read_text().count('"kind": "test"')


def test_rows_with_weights_and_data_are_tested_and_the_others_say_what_they_lack(
    reproduce, weights, data, tmp_path
):
    morphmlp, posmlp = weights("morphmlp"), weights("posmlp", POSMLP)
    given = ["--data", f"kinetics={data}", "--checkpoint", f"Zoo/MORPHMLP_A*={morphmlp}"]
    status, report, lines, _ = reproduce(*given, "--checkpoint", f"Zoo/POSMLP_B={posmlp}")
    assert status == 0
    tested = {name for name, line in lines.items() if line["state"] == "tested"}
    assert tested == {"Zoo/MORPHMLP_A", "Zoo/MORPHMLP_A_left", "Zoo/POSMLP_B"}
    line = lines["Zoo/MORPHMLP_A"]
    assert (line["num_decoded"], line["num_videos"]) == ("7", "7")
    assert float(line["difference_top1"]) == float(line["top1"]) - 50
    assert line["difference_top5"] != "" and lines["Zoo/POSMLP_B"]["difference_top5"] == ""
    assert float(line["gflops"]) == pytest.approx(6 * float(lines["Zoo/MORPHMLP_A_left"]["gflops"]) / 2)
    assert "- Zoo/POSMLP_C: no checkpoint given: --checkpoint Zoo/POSMLP_C=PATH\n" in report
    assert "3 of 4 rows are tested" in report
    assert (
        f"| Zoo/MORPHMLP_A | 50.0 | {float(line['top1']):.2f} | {float(line['top1']) - 50:+.2f} | 90.0"
        in report
    )
    # A and B see the same clips, and A_left others.
    rows = tmp_path / "out" / "rows" / "Zoo"
    logs = {name: (rows / name / "stdout.log").read_text() for name in ("MORPHMLP_A", "POSMLP_B")}
    assert "2 models see the same clips" in logs["MORPHMLP_A"]
    assert "batch 4/4" in logs["MORPHMLP_A"] and "batch" not in logs["POSMLP_B"]


def test_a_row_of_five_classes_or_fewer_has_no_top5(reproduce, weights, data):
    lines = (data / "test.csv").read_text().splitlines(keepends=True)
    (data / "test.csv").write_text("".join(line for line in lines if int(line.split()[-1]) < 5))
    path = weights("morphmlp", "MODEL.NUM_CLASSES 5")
    given = ["--rows", "Zoo/MORPHMLP_A", "--checkpoint", f"Zoo/MORPHMLP_A={path}"]
    given += ["--data", f"kinetics={data}", "--set", "Zoo/*", "MODEL.NUM_CLASSES", "5"]
    for _ in range(2):  # tested, and read back
        status, report, lines, _ = reproduce(*given)
        assert status == 0
        line = lines["Zoo/MORPHMLP_A"]
        assert (line["state"], line["top5"], line["difference_top5"]) == ("tested", "", "")
        assert (
            f"| 50.0 | {float(line['top1']):.2f} | {float(line['top1']) - 50:+.2f} | 90.0 | - | - |" in report
        )


def test_the_command_of_a_row_gives_the_same_predictions(reproduce, weights, data, main, tmp_path):
    path = weights("posmlp", POSMLP)
    given = ["--data", f"kinetics={data}", "--checkpoint", f"Zoo/POSMLP_B={path}", "--rows", "Zoo/POSMLP_B"]
    _, report, lines, _ = reproduce(*given)
    command = lines["Zoo/POSMLP_B"]["command"]
    assert f"```bash\n{command}\n```" in report
    words = shlex.split(command)
    assert words[:2] == ["python", "tools/run_net.py"]
    row = tmp_path / "out" / "rows" / "Zoo" / "POSMLP_B"
    assert words[-2:] == ["OUTPUT_DIR", str(row)]
    assert main([*words[2:-1], str(tmp_path / "alone")]) == 0
    assert (tmp_path / "alone" / "predictions.csv").read_bytes() == (row / "predictions.csv").read_bytes()


def test_a_row_is_tested_again_only_for_other_weights_settings_or_videos(reproduce, weights, data, tmp_path):
    path, row = weights("morphmlp"), tmp_path / "out" / "rows" / "Zoo" / "MORPHMLP_A"
    given = [
        "--rows",
        "Zoo/MORPHMLP_A",
        "--data",
        f"kinetics={data}",
        "--checkpoint",
        f"Zoo/MORPHMLP_A={path}",
    ]
    _, first, _, _ = reproduce(*given)
    status, second, _, _ = reproduce(*given)
    assert (status, num_tests(row), second) == (0, 1, first)
    _, _, lines, _ = reproduce(*given, "--set", "kinetics", "TEST.ENSEMBLE", "probs")
    assert num_tests(row) == 2 and "probs averaged" in lines["Zoo/MORPHMLP_A"]["protocol"]
    videos = (data / "test.csv").read_text().splitlines()
    (data / "test.csv").write_text("\n".join(videos[:-1]))
    _, _, lines, _ = reproduce(*given, "--set", "kinetics", "TEST.ENSEMBLE", "probs")
    assert num_tests(row) == 3 and lines["Zoo/MORPHMLP_A"]["num_videos"] == "6"
    weights("morphmlp", "RNG_SEED 5")
    reproduce(*given, "--set", "Zoo/*", "TEST.ENSEMBLE", "probs")
    assert num_tests(row) == 4


def test_weights_that_do_not_fit_cost_their_own_row_alone(reproduce, weights, data):
    good, bad = weights("posmlp", POSMLP), weights("morphmlp")
    given = ["--data", f"kinetics={data}", "--rows", "Zoo/POSMLP_B", "Zoo/POSMLP_C", "--checkpoint"]
    status, report, lines, error = reproduce(
        *given,
        f"Zoo/POSMLP_B={good}",
        "--checkpoint",
        f"Zoo/POSMLP_C={bad}",
        "--set",
        "Zoo/POSMLP_C",
        "RNG_SEED",
        "0",
    )
    assert status == 1
    assert lines["Zoo/POSMLP_B"]["state"] == "tested"
    assert "does not fit this model" in lines["Zoo/POSMLP_C"]["state"]
    assert "Zoo/POSMLP_C could not be tested" in error and "- Zoo/POSMLP_C: " in report


def test_a_video_that_does_not_decode_counts_as_wrong_and_the_report_says_so(reproduce, weights, data):
    video = (data / "test.csv").read_text().split()[0]
    (data / video).write_bytes(b"no video")
    given = ["--data", f"kinetics={data}", "--rows", "Zoo/MORPHMLP_A", "--checkpoint"]
    status, report, lines, _ = reproduce(*given, f"Zoo/MORPHMLP_A={weights('morphmlp')}")
    line = lines["Zoo/MORPHMLP_A"]
    assert (status, line["num_decoded"], line["num_views_missing"]) == (0, "6", "6")
    assert float(line["top1_of_decoded"]) == pytest.approx(float(line["top1"]) * 7 / 6)
    assert "| 6/7 |" in report and "1 of 7 videos gave no view, 6 views are missing" in report


def test_a_folder_of_weights_is_looked_into_by_the_names_of_rows(reproduce, weights, tmp_path):
    (tmp_path / "weights" / "Zoo").mkdir(parents=True)
    shutil.copy(weights("posmlp", POSMLP), tmp_path / "weights" / "Zoo" / "POSMLP_B.pyth")
    status, _, lines, _ = reproduce("--checkpoints", tmp_path / "weights")
    assert (status, lines["Zoo/POSMLP_B"]["state"]) == (0, "no data given: --data kinetics=FOLDER")
    assert lines["Zoo/POSMLP_C"]["command"].endswith(
        "TEST.CHECKPOINT_FILE_PATH CHECKPOINT DATA.PATH_TO_DATA_DIR FOLDER"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint", "Zoo/POSMLP_D=here.pyth"], "there is no such file"),
        (["--checkpoint", "here.pyth"], "write --checkpoint NAME=FILE"),
        (["--data", "kinetic=/k400"], "they read kinetics. Did you mean kinetics?"),
        (["--rows", "Zoo/MORPHMLP_B"], "--rows 'Zoo/MORPHMLP_B': no row of the table"),
        (["--set", "Zoo/POSMLP", "RNG_SEED", "1"], "--set 'Zoo/POSMLP': no row of the table"),
        (["--set", "Zoo/POSMLP_B", "RNG_SEDE", "1"], "unknown key RNG_SEDE"),
        (["--checkpoints", "nowhere"], "there is no such folder"),
    ],
)
def test_a_wrong_command_is_answered_in_a_line_before_anything_is_done(reproduce, words, message):
    status, report, _, error = reproduce(*words)
    assert (status, report) == (2, "")
    assert message in error and "Traceback" not in error


def test_a_folder_that_cannot_be_written_to_is_answered_in_a_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert (
        main_of("reproduce")(["--rows", "ImageNet/MOBILE_FORMER_26M", "--out", str(tmp_path / "file")]) == 2
    )
    assert "Give another --out." in capsys.readouterr().err


def test_one_command_trains_tests_and_reports_on_the_embedded_videos(tmp_path):
    words = ["--synthetic", "--out", str(tmp_path), "--data", f"synthetic={tmp_path / 'cache'}"]
    words += ["--rows", "Synthetic/MORPHMLP_NANO_8x3", "Synthetic/MORPHMLP_NANO_8x3_left"]
    opts = (
        "SOLVER.MAX_EPOCH 1 TRAIN.BATCH_SIZE 8 DATA.ARGS.num_train 8 DATA.ARGS.num_val 8 DATA.ARGS.num_test 8"
    )
    opts += " NUM_GPUS 0 DATA_LOADER.NUM_WORKERS 0 SOLVER.WARMUP_EPOCHS 0"
    assert main_of("reproduce")([*words, "--opts", *opts.split()]) == 0
    report = (tmp_path / "report.md").read_text()
    assert "2 of 2 rows are tested" in report and report.count("| 8/8 |") == 2
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "training").iterdir()] == ["MORPHMLP_NANO_8x3"]
    assert main_of("reproduce")([*words, "--opts", *opts.split()]) == 0
    assert num_tests(tmp_path / "rows" / "Synthetic" / "MORPHMLP_NANO_8x3") == 1


def test_a_row_of_five_classes_and_fewer_has_no_top5(reproduce, weights, data, tmp_path):
    for split in ("train", "val", "test"):
        lines = [line.split() for line in (data / f"{split}.csv").read_text().splitlines()]
        (data / f"{split}.csv").write_text("".join(f"{path} {int(label) % 3}\n" for path, label in lines))
    three = "MODEL.NUM_CLASSES 3"
    path = weights("three", three)
    (tmp_path / "table.csv").write_text(f"name,config,overrides,top5\nThree,tiny.yaml,{three},90\n")
    status, report, lines, _ = reproduce("--data", f"kinetics={data}", "--checkpoint", f"Three={path}")
    assert status == 0
    assert lines["Three"]["state"] == "tested" and lines["Three"]["top1"] != ""
    assert (lines["Three"]["top5"], lines["Three"]["difference_top5"]) == ("", "")
    assert "| 90.0 | - | - |" in report
    assert reproduce("--data", f"kinetics={data}", "--checkpoint", f"Three={path}")[0] == 0


def test_a_damaged_result_costs_its_own_row_alone(reproduce, weights, data, tmp_path):
    given = ["--data", f"kinetics={data}", "--checkpoint", f"Zoo/MORPHMLP_A*={weights('morphmlp')}"]
    (tmp_path / "out" / "rows" / "Zoo" / "MORPHMLP_A").mkdir(parents=True)
    (tmp_path / "out" / "rows" / "Zoo" / "MORPHMLP_A" / "result.json").write_text("{")
    status, _, lines, error = reproduce(*given)
    assert status == 1
    assert lines["Zoo/MORPHMLP_A_left"]["state"] == "tested"
    assert "result.json is damaged" in lines["Zoo/MORPHMLP_A"]["state"] and "Delete it" in error
