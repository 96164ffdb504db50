"""Which classes change places in a mirror, on the phrases of Something-Something V2."""

import pytest

from slowfast_mlp.data.datasets.synthetic import CLASSES
from slowfast_mlp.data.transforms.flip_labels import flip_labels

PHRASES = (
    "Pulling something from left to right",
    "Pulling something from right to left",
    "Pushing something from left to right",
    "Pushing something from right to left",
    "Putting something upright on the table",
    "Showing something behind something",
    "Turning the camera downwards while filming something",
    "Turning the camera left while filming something",
    "Turning the camera right while filming something",
    "Turning the camera upwards while filming something",
    "Turning something upside down",
)


def test_classes_that_differ_by_left_and_right_alone_change_places():
    assert flip_labels(PHRASES).tolist() == [1, 0, 3, 2, 4, 5, 6, 8, 7, 9, 10]


def test_what_turns_turns_the_other_way_in_a_mirror():
    # left, right, up, down, anticlockwise, clockwise, shrinking, growing
    assert flip_labels(CLASSES).tolist() == [1, 0, 2, 3, 5, 4, 6, 7]
    assert flip_labels(["Turning Counterclockwise", "turning clockwise"]).tolist() == [1, 0]


def test_words_that_hold_left_or_right_are_other_words():
    assert flip_labels(["cleft", "brightening", "eating leftovers"]).tolist() == [0, 1, 2]


def test_two_classes_with_one_mirror_image_are_refused():
    names = ["Moving left", "moving left", "Moving right"]
    with pytest.raises(
        ValueError, match="'Moving left' and 'moving left' are one name with one mirror image"
    ):
        flip_labels(names)
    with pytest.raises(ValueError, match="'turning Clockwise' and 'Turning clockwise' are one name"):
        flip_labels(["turning counterclockwise", "turning Clockwise", "Turning clockwise"])


def test_names_without_sides_stay_whatever_their_capitals():
    assert flip_labels(["run", "Run", "turn left", "Turn Right"]).tolist() == [0, 1, 3, 2]


def test_a_class_without_its_mirror_image_is_refused():
    with pytest.raises(ValueError, match="'Turning Left' has no class for its mirror image 'turning right'"):
        flip_labels(["clapping", "Turning Left"])
