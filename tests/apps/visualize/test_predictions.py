"""predictions.csv, read back."""

import math

import pytest

from slowfast_mlp.apps.visualize.predictions import NO_CLASS, read_predictions
from slowfast_mlp.errors import UserError

WITH_ALL = """path,label,views,class1,score1,class2,score2,probability1,label_name,class1_name
a.mp4,0,6,2,3.5,0,1.0,0.875,left,up
b.mp4,2,0,,,,,,up,
c.mp4,1,6,1,2.0,0,1.0,0.5,right,right
"""


def write(tmp_path, text):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    return str(path)


def test_labels_best_classes_probabilities_and_names_are_read(tmp_path):
    predictions = read_predictions(write(tmp_path, WITH_ALL), num_classes=4)
    assert predictions.paths == ("a.mp4", "b.mp4", "c.mp4")
    assert predictions.labels.tolist() == [0, 2, 1]
    assert predictions.best.tolist() == [2, NO_CLASS, 1]
    assert predictions.has_views.tolist() == [True, False, True]
    assert predictions.confidences[[0, 2]].tolist() == [0.875, 0.5]
    assert math.isnan(predictions.confidences[1])
    assert predictions.label_names == ("left", "right", "up", "class 3")


def test_files_without_probabilities_and_names_are_read_too(tmp_path):
    path = write(tmp_path, "path,label,views,class1,score1\na.mp4,0,6,1,3.5\n")
    predictions = read_predictions(path)
    assert predictions.num_classes == 2
    assert predictions.label_names == ("class 0", "class 1")
    assert predictions.confidences.isnan().all()
    assert read_predictions(path, label_names=["x", "y", "z"]).label_names == ("x", "y", "z")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no video"),
        (
            "path,what\na.mp4,0\n",
            "is not the predictions.csv of a test .it has no column label.; its columns are path, what",
        ),
        ("path,label,views,class1\na.mp4,zero,6,1\n", "is not the predictions.csv of a test"),
        ("path,label,views,class1\na.mp4,0,6,9\n", "has a class 9, and the model has 4 classes"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_predictions(write(tmp_path, text), num_classes=4)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.csv cannot be read"):
        read_predictions(str(tmp_path / "nowhere.csv"))
