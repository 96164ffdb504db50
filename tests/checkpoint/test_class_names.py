"""Outputs of a checkpoint and classes of a data set are matched by name."""

import logging

import pytest
import torch

from slowfast_mlp.checkpoint.class_names import class_order, match_classes
from slowfast_mlp.errors import UserError


def test_scores_are_taken_into_the_order_of_the_data_set():
    order = class_order(["run", "sit", "eat"], ["eat", "run", "sit"])
    scores = torch.tensor([[0.1, 0.2, 0.7]])  # run, sit, eat
    assert scores[:, order].tolist() == torch.tensor([[0.7, 0.1, 0.2]]).tolist()


def test_another_order_is_said_and_the_same_is_not(caplog):
    with caplog.at_level(logging.INFO):
        assert match_classes(["a", "b"], ["a", "b"], source="x.pyth") is None
        assert caplog.messages == []
        assert match_classes(["a", "b", "c"], ["b", "a", "c"], source="x.pyth").tolist() == [1, 0, 2]
    assert caplog.messages == [
        "x.pyth has 2 of 3 classes at other places than the data set; a test matches its scores by name"
    ]


@pytest.mark.parametrize(
    ("trained", "wanted", "who"),
    [
        ([], ["a"], "the checkpoint does not"),
        (["a"], [], "the data set does not"),
        ([], [], "the checkpoint and the data set do not"),
    ],
)
def test_unknown_names_are_said(caplog, trained, wanted, who):
    with caplog.at_level(logging.INFO):
        assert match_classes(trained, wanted, source="x.pyth") is None
    assert f"x.pyth: {who} name the classes" in caplog.text


def test_other_classes_are_refused_with_what_differs():
    with pytest.raises(UserError) as raised:
        match_classes(["a", "b", "c", "d", "e"], ["a", "z"], source="x.pyth")
    assert (
        "x.pyth was trained on other classes: it alone has 'b', 'c', 'd', ...; the data set alone has 'z'"
        in str(raised.value)
    )
