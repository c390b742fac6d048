"""Who learns and who judges: a test set, or a part that is held out, of pictures or of groups."""

from typing import Any

import numpy as np

from BYOL.config.tasks import CLASSES
from BYOL.data.dataset import Images
from BYOL.data.groups import GroupFile, check_grouped, in_both
from BYOL.data.open import Splits
from BYOL.errors import UserError
from BYOL.evaluation.types import Exam, class_problem, held_out, task_of, with_same_labels


def parted(train: Images, test: Images | None, seed: int) -> tuple[Images, Images]:
    """Pictures to learn from and pictures that judge.

    Without a test set they are parts of ``train``, drawn by the seed, by whole groups where it has
    them. Without labels nothing is learnt, so all are judged.

    Raises:
        UserError: classes or groups of which no part can judge what the other teaches.
    """
    if test is not None:
        return train, test
    if train.labels is None:
        return train, train
    by_groups = None if train.groups is None else held_out(train.labels, seed, train.groups)
    problem = class_problem(train.labels, by_groups) if task_of(train) == CLASSES else None
    if problem:
        raise UserError(f"{train.name}: {problem}; give pictures that judge as its test/")
    held = held_out(train.labels, seed) if by_groups is None else by_groups
    return train.subset(np.flatnonzero(~held)), train.subset(np.flatnonzero(held))


def check_sides(splits: Splits, file: GroupFile) -> str | None:
    """See that every picture which learns or judges has a group.

    Returns:
        A line about groups with pictures on both sides, or None.

    Raises:
        UserError: some have none.
    """
    learn = splits.labelled or splits.train
    judge = with_same_labels(splits.test, learn)
    check_grouped((learn, judge), file)
    return in_both(learn, judge, file) if judge else None


def groups_of(exam: Exam, test: Images | None) -> dict[str, Any]:
    """What an evaluation says of groups; nothing where there are none.

    Returns:
        ``groups``: how many ``learn``, ``judge`` and do ``both``. Without a test set also
        ``held_out_by``: "groups".
    """
    learn, judge = exam.learn.groups, exam.judge.groups
    if learn is None or judge is None:
        return {}
    counts = {
        "learn": len(np.unique(learn)),
        "judge": len(np.unique(judge)),
        "both": len(np.intersect1d(learn, judge)),
    }
    here = test is None and exam.learn is not exam.judge
    return {"groups": counts, **({"held_out_by": "groups"} if here else {})}


def untaught(exam: Exam) -> dict[str, list[str]]:
    """``untaught``: names of classes that judge without a picture to learn from, if there are any.

    So where test/ has a folder more than train/, or all groups of a class judge.
    """
    if exam.task != CLASSES:
        return {}
    names = max(exam.learn.classes, exam.judge.classes, key=len)
    numbers = np.setdiff1d(exam.judge_labels, exam.learn_labels).tolist()
    return (
        {"untaught": [names[k] if k < len(names) else str(k) for k in numbers]} if numbers else {}
    )
