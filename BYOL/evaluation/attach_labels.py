"""By which pictures a run is judged: their labels, their groups, and whether they can judge."""

import dataclasses

import numpy as np

from BYOL.config import PretrainConfig
from BYOL.config.tasks import CLASSES
from BYOL.data.annotations import annotated
from BYOL.data.dataset import Images
from BYOL.data.open import Splits
from BYOL.evaluation.splits import check_sides
from BYOL.evaluation.types import class_problem, held_out, task_of, with_same_labels


def told(splits: Splits, config: PretrainConfig) -> Splits:
    """The same, with what the files of a run's ``labels`` and ``groups`` say of the pictures.

    All pictures stay to be learnt from; those that have a label are ``labelled``, too. Where groups
    are on both sides, ``train`` has a remark that says so.

    Raises:
        UserError: a file that cannot be read or does not fit the pictures.
    """
    file = annotated(splits, config.labels, config.task, config.groups)
    found = file.splits
    if config.labels:
        whole = splits.labelled is None and len(found.train) == len(splits.train)
        splits = dataclasses.replace(
            splits,
            train=found.train if whole else _unlabelled(splits.train),
            test=found.test,
            labelled=None if whole else found.train,
        )
    else:
        splits = found
    if file.groups and (splits.labelled or splits.train).labels is not None:
        remark = check_sides(splits, file.groups)
        if remark:
            splits = dataclasses.replace(splits, train=_remarked(splits.train, remark))
    return splits


def judging(splits: Splits) -> Splits:
    """The same; without labels, and with a remark, where nothing can be judged by them."""
    bank = splits.labelled or splits.train
    problem = None
    if task_of(bank) == CLASSES:
        assert bank.labels is not None
        if with_same_labels(splits.test, bank) is None:
            by_groups = None if bank.groups is None else held_out(bank.labels, 0, bank.groups)
            problem = class_problem(bank.labels, by_groups)
        elif len(np.unique(bank.labels)) < 2:
            problem = "the pictures to learn from are of one class"
    if problem is None:
        return splits
    remark = f"its labels are not used, and nothing is said of accuracy: {problem}"
    train = _remarked(_unlabelled(splits.train), remark)
    return Splits(train, splits.test and _unlabelled(splits.test))


def _remarked(images: Images, remark: str) -> Images:
    return dataclasses.replace(images, remarks=(*images.remarks, remark))


def _unlabelled(images: Images) -> Images:
    return dataclasses.replace(images, labels=None, classes=())
