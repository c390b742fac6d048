"""The composition of an evaluation's splits: groups on both sides, classes without training."""

from typing import Any

import numpy as np

from BYOL.config.tasks import CLASSES
from BYOL.data.dataset import Images
from BYOL.evaluation.types import Exam


def groups_of(exam: Exam, test: Images | None) -> dict[str, Any]:
    """Return the number of groups in each split of ``exam``, or nothing without groups.

    Args:
        exam: the evaluation data.
        test: the test set, or None if the test images were held out from the training images.

    Returns:
        ``groups``: the number of groups of training images (``learn``), of test images
        (``judge``) and in both splits (``both``). ``held_out_by``: "groups", if ``test`` is None.
    """
    train_groups, test_groups = exam.train.groups, exam.test.groups
    if train_groups is None or test_groups is None:
        return {}
    counts = {
        "learn": len(np.unique(train_groups)),
        "judge": len(np.unique(test_groups)),
        "both": len(np.intersect1d(train_groups, test_groups)),
    }
    split_here = test is None and exam.train is not exam.test
    return {"groups": counts, **({"held_out_by": "groups"} if split_here else {})}


def untaught(exam: Exam) -> dict[str, list[str]]:
    """Return ``untaught``: the names of classes with test images but without training images.

    This happens if test/ has a folder more than train/, or if all groups of a class are held out.
    The dictionary is empty if there is no such class.
    """
    if exam.task != CLASSES:
        return {}
    names = max(exam.train.classes, exam.test.classes, key=len)
    numbers = np.setdiff1d(exam.test_labels, exam.train_labels).tolist()
    return (
        {"untaught": [names[k] if k < len(names) else str(k) for k in numbers]} if numbers else {}
    )
