"""Labels with their names, kind and groups, and what is derived from them."""

import numpy as np
import pytest
import torch

from BYOL.data.dataset import ArrayImages
from BYOL.evaluation.labelled_set import LabelledSet, label_count, task_of

CLASSES = np.array([2, 0, 2, 1])
TAGS = np.array([[True, False], [True, True], [True, False], [True, True]])


@pytest.mark.parametrize(
    ("labels", "task", "count", "present"),
    [
        (CLASSES, "classification", 3, 3),
        (CLASSES[:2], "classification", 3, 2),
        (TAGS, "multilabel", 2, 2),
        (TAGS.astype(np.float64), "regression", 2, 2),
        (None, "none", None, 0),
    ],
)
def test_the_labels_determine_the_task_and_the_number_of_outputs(labels, task, count, present):
    pixels = torch.zeros(4 if labels is None else len(labels), 1, 2, 2, dtype=torch.uint8)
    images = ArrayImages("set", 1, labels, (), pixels)
    assert task_of(images) == task and label_count(images) == present
    if labels is not None:
        assert LabelledSet.of(images).count == count


def test_names_count_even_if_no_image_has_the_class_and_missing_names_are_numbers():
    assert LabelledSet(CLASSES, tuple("abcde")).count == 5
    assert list(map(LabelledSet(CLASSES, ("a",)).name, CLASSES)) == ["2", "a", "2", "1"]


def test_a_subset_keeps_labels_groups_and_features_together():
    groups = np.array([7, 8, 9, 7])
    known = LabelledSet(CLASSES, tuple("abc"), groups).with_features(np.arange(8.0).reshape(4, 2))
    train, test = known.split(groups == 7)
    assert test.labels.tolist() == [2, 1] and test.groups.tolist() == [7, 7]
    assert test.features.tolist() == [[0, 1], [6, 7]] and test.classes == tuple("abc")
    assert train.labels.tolist() == [0, 2] and train.units.tolist() == [8, 9]
    assert known.subset(np.array([3, 0])).features.tolist() == [[6, 7], [0, 1]]
    assert LabelledSet(CLASSES).subset(slice(2)).groups is None


def test_only_classes_are_strata_and_images_without_groups_are_their_own_units():
    assert [part.tolist() for part in LabelledSet(CLASSES).class_counts()] == [[0, 1, 2], [1, 1, 2]]
    assert [part.tolist() for part in LabelledSet(TAGS).class_counts()] == [[0], [4]]
    assert LabelledSet(TAGS).units.tolist() == [0, 1, 2, 3]
    assert LabelledSet(TAGS, ("x", "y")).constant_names == ["x"]
