"""What a person reads of a validation and of a test."""

import json

import pytest
import torch

from slowfast_mlp.data.batch import Failure
from slowfast_mlp.engine import results
from slowfast_mlp.engine.evaluate import Evaluation
from slowfast_mlp.log.run_log import RunLog


def evaluation(num_classes, *, num_views=(6, 6, 6), failures=()):
    """Three videos, the first two of which are judged right."""
    scores, labels = torch.eye(3, num_classes, dtype=torch.float64), torch.tensor([0, 1, 0])
    views = torch.tensor(num_views)
    return Evaluation(
        scores=scores, num_views=views, labels=labels, failures=list(failures), ensemble="logits"
    )


def tell(folder, of):
    """Tells of a validation and a test; returns the lines of metrics.jsonl."""
    with RunLog(str(folder), enabled=True, tensorboard=False) as log:
        results.log_validation(log, of, epoch=0, num_epochs=2, step=5)
        results.log_test(
            log,
            of,
            paths=["a", "b", "c"],
            views="2 x 3 views",
            tested={"epoch": 1, "checkpoint": "x.pyth"},
            label_names=(),
            config_name="config.yaml",
        )
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("num_classes", "has_top5"), [(3, False), (5, False), (6, True)])
def test_top5_is_reported_of_more_than_five_classes_only(tmp_path, capsys, num_classes, has_top5):
    lines = tell(tmp_path, evaluation(num_classes))
    printed = capsys.readouterr().out
    assert "top1 66.67 %" in printed and "top-1" in printed
    assert ("  top5 " in printed, "top-5 " in printed) == (has_top5, has_top5)
    assert ["top5" in line for line in lines] == [has_top5, has_top5]
    assert ("top5_err" in (tmp_path / "json_stats.log").read_text()) == has_top5


def test_videos_of_which_some_views_failed_are_counted_in_the_last_lines(tmp_path, capsys):
    failures = [Failure(1, "b", "is damaged", 2), Failure(2, "c", "is gone", 6)]
    lines = tell(tmp_path, evaluation(8, num_views=(6, 4, 0), failures=failures))
    printed = capsys.readouterr().out
    assert printed.count("2/3 with a view, 1 of them not with all, 8 views of 2 videos missing") == 2
    assert [line["num_partial"] for line in lines] == [1, 1]


def test_whole_videos_are_not_called_partial(tmp_path, capsys):
    tell(tmp_path, evaluation(8))
    printed = capsys.readouterr().out
    assert printed.count("3/3 with a view") == 2 and "not with all" not in printed
