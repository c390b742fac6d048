"""The composition of an evaluation's splits: groups on both sides, classes without training."""

from typing import Any

import numpy as np

from BYOL.config.tasks import CLASSES
from BYOL.data.dataset import Images
from BYOL.evaluation.types import EvaluationData


def group_counts(data: EvaluationData, test: Images | None) -> dict[str, Any]:
    """Return the number of groups in each split of ``data``, or nothing without groups.

    Args:
        data: the evaluation data.
        test: the test set, or None if the test images were held out from the training images.

    Returns:
        ``groups``: the number of groups of training images (``learn``), of test images
        (``judge``) and in both splits (``both``). ``held_out_by``: "groups", if ``test`` is None.
    """
    train_groups, test_groups = data.train.groups, data.test.groups
    if train_groups is None or test_groups is None:
        return {}
    counts = {
        "learn": len(np.unique(train_groups)),
        "judge": len(np.unique(test_groups)),
        "both": len(np.intersect1d(train_groups, test_groups)),
    }
    split_here = test is None and data.train is not data.test
    return {"groups": counts, **({"held_out_by": "groups"} if split_here else {})}


def classes_without_training_images(data: EvaluationData) -> dict[str, list[str]]:
    """Return ``untaught``: the names of classes with test images but without training images.

    This happens if test/ has a folder more than train/, or if all groups of a class are held out.
    The dictionary is empty if there is no such class.
    """
    if data.task != CLASSES:
        return {}
    numbers = np.setdiff1d(data.test_set.labels, data.train_set.labels).tolist()
    return {"untaught": list(map(data.test_set.name, numbers))} if numbers else {}
