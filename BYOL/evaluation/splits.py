"""Training, validation and test images: labels from files, and the rules for holding images out.

A test set is used where there is one. Otherwise a fifth of the labelled images is held out, image
by image or by whole groups.
"""

import dataclasses
import warnings

import numpy as np

from BYOL.config.data_settings import DataSettings
from BYOL.config.tasks import CLASSES
from BYOL.data.annotations import AnnotationFiles, annotate_splits
from BYOL.data.dataset import Images
from BYOL.data.groups import GroupFile, check_all_grouped, shared_groups_warning
from BYOL.data.sources import Splits
from BYOL.errors import UserError
from BYOL.evaluation.labelled_set import LabelledSet, task_of

HELD_OUT = 0.2  # share of the labelled images that is held out if there is no test set


def attach_labels(splits: Splits, config: DataSettings) -> Splits:
    """Add the contents of the files ``config.labels`` and ``config.groups`` to ``splits``.

    All images stay in ``train`` for pretraining. Those with a label are also in ``labelled``. If
    groups have images in both the training and the test split, ``train`` gets a remark about it.

    Raises:
        UserError: a file cannot be read or does not match the images.
    """
    file = annotate_splits(splits, AnnotationFiles.of(config))
    annotated_splits = file.splits
    if config.labels:
        all_labelled = splits.labelled is None and len(annotated_splits.train) == len(splits.train)
        splits = dataclasses.replace(
            splits,
            train=annotated_splits.train if all_labelled else _without_labels(splits.train),
            test=annotated_splits.test,
            labelled=None if all_labelled else annotated_splits.train,
        )
    else:
        splits = annotated_splits
    if file.groups and (splits.labelled or splits.train).labels is not None:
        remark = check_split_groups(splits, file.groups)
        if remark:
            splits = dataclasses.replace(splits, train=_with_remark(splits.train, remark))
    return splits


def drop_unusable_labels(splits: Splits, seed: int = 0) -> Splits:
    """Return ``splits`` without labels, and with a remark, if they allow no evaluation.

    If the labels allow one, ``splits`` is returned unchanged. ``seed`` is that of the evaluation,
    which draws the held-out images.
    """
    bank = splits.labelled or splits.train
    problem = _unusable_reason(bank, comparable_test_set(splits.test, bank), seed)
    if problem is None:
        return splits
    remark = f"its labels are not used, and no accuracy is reported: {problem}"
    train = _with_remark(_without_labels(splits.train), remark)
    return Splits(train, splits.test and _without_labels(splits.test))


def _unusable_reason(bank: Images, test: Images | None, seed: int) -> str | None:
    """Return why the labels of the training images ``bank`` allow no evaluation, or None."""
    if bank.labels is None:
        return None
    known = LabelledSet.of(bank)
    if known.task == CLASSES:
        if test is None:
            return holdout_problem(known, None if known.groups is None else held_out_mask(known, 0))
        return "the training images are of one class" if known.has_one_label else None
    splits = (
        known.split(held_out_mask(known, seed)) if test is None else (known, LabelledSet.of(test))
    )
    named = zip(("training", "test"), splits, strict=True)
    equal = next((name for name, part in named if part.has_one_label), None)
    return f"all {equal} images have the same labels" if equal else None


def check_split_groups(splits: Splits, file: GroupFile) -> str | None:
    """Check that every labelled training image and every test image has a group in ``file``.

    Returns:
        A line about groups with images in both splits, or None.

    Raises:
        UserError: some images have no group.
    """
    train = splits.labelled or splits.train
    test = comparable_test_set(splits.test, train)
    check_all_grouped((train, test), file)
    return shared_groups_warning(train, test, file) if test else None


def train_and_test_images(train: Images, test: Images | None, seed: int) -> tuple[Images, Images]:
    """Return training images and test images.

    If ``test`` is None, a part of ``train`` that ``seed`` determines is held out, in whole groups
    if it has groups. If ``train`` has no labels, nothing is trained, so all of it is test images.

    Raises:
        UserError: the classes or groups of ``train`` allow no such split.
    """
    if test is not None:
        return train, test
    if train.labels is None:
        return train, train
    known = LabelledSet.of(train)
    by_groups = None if known.groups is None else held_out_mask(known, seed)
    problem = holdout_problem(known, by_groups) if known.task == CLASSES else None
    if problem:
        advice = "give test images as its test/"
        if known.has_one_label:
            advice = "label images of another class"
        raise UserError(f"{train.name}: {problem}; {advice}")
    held = held_out_mask(known, seed) if by_groups is None else by_groups
    return train.subset(np.flatnonzero(~held)), train.subset(np.flatnonzero(held))


def comparable_test_set(test: Images | None, train: Images) -> Images | None:
    """Return ``test`` if its labels are of the same kind as those of ``train``, else None.

    Without such a test set a part of ``train`` is held out.
    """
    return test if test is not None and task_of(test) == task_of(train) else None


def holdout_problem(known: LabelledSet, held: np.ndarray | None = None) -> str | None:
    """Return why holding out a fifth of the images gives no meaningful accuracy, or None.

    Folders of one image each are no classes, and one test image for several classes does not
    measure them.

    Args:
        known: images with classes.
        held: (n,) bool, the test images if whole groups are held out; None if images are drawn
            one by one, as if they had no groups.
    """
    counts = known.class_counts()[1]
    if len(counts) < 2:
        return "all labelled images are of one class"
    several = int((counts >= 2).sum())
    if several < 2:
        return f"of {len(counts):,} classes {several or 'none'} has two images; two classes must"
    if held is not None and (both := _classes_on_both_sides(known.labels, held)) < 2:
        return (
            f"of {len(counts):,} classes {both or 'none'} has images on both sides when whole "
            "groups are held out; two classes must"
        )
    test_count = int((_held_out_images(known, 0) if held is None else held).sum())
    if test_count < len(counts):
        return f"holding out a fifth leaves {test_count:,} test images for {len(counts):,} classes"
    return None


def held_out_mask(known: LabelledSet, seed: int) -> np.ndarray:
    """Return a mask (n,) bool of a fifth of every class, but never of the last sample of a class.

    For labels that are not classes it is a fifth of all samples. If there are groups, whole groups
    are held out, as close to a fifth of every class as they allow. A class of few groups may be on
    one side only.

    Args:
        known: the labelled images.
        seed: seed of the draw.

    Raises:
        UserError: no class has two samples, or there are fewer than two groups.
    """
    held_out = _held_out_images if known.groups is None else _held_out_groups
    return held_out(known, seed)


def _held_out_images(known: LabelledSet, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    held, classes = np.zeros(len(known), dtype=bool), known.strata
    for c in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == c))
        held[members[: max(round(len(members) * HELD_OUT), min(1, len(members) - 1))]] = True
    if not held.any():
        raise UserError("no class has two images: none can be held out as a test image")
    return held


def validation_mask(known: LabelledSet, seed: int) -> np.ndarray:
    """Return the mask (n,) bool of the validation samples, which choose hyperparameters.

    The arguments are those of :func:`held_out_mask`, which draws the samples. The mask is empty if
    no class has two samples, if all samples are of one group, or if fewer than two classes are on
    both sides of a split by groups.
    """
    none, by_groups = np.zeros(len(known), dtype=bool), known.groups is not None
    if by_groups and len(np.unique(known.units)) < 2:
        return none
    if not by_groups and known.class_counts()[1].max() < 2:
        return none
    held = held_out_mask(known, seed)
    if by_groups and known.task == CLASSES and _classes_on_both_sides(known.labels, held) < 2:
        return none
    return held


def balanced_share(known: LabelledSet, share: float, seed: int) -> np.ndarray:
    """Return sorted positions of the same share of every class, at least one sample of each.

    For labels that are not classes it is a share of all samples.
    For the same ``seed`` a smaller share is a subset of a larger one. If there is one class, at
    least two samples are returned, because training a network with batch norm needs two.

    Args:
        known: the labelled images.
        share: above 0, at most 1.
        seed: seed of the draw.
    """
    rng = np.random.default_rng(seed)
    parts = []
    strata = known.strata
    classes = np.unique(strata)
    least = 1 if len(classes) > 1 else 2
    for c in classes:
        members = rng.permutation(np.flatnonzero(strata == c))
        parts.append(members[: max(round(share * len(members)), least)])
    return np.sort(np.concatenate(parts))


def _held_out_groups(known: LabelledSet, seed: int) -> np.ndarray:
    """Return the fold of scikit-learn's splitter that has two classes on both sides, as a mask.

    Of several such folds it is the one closest to a fifth. The first fold is not always suitable
    because it has the largest group, for example a camera that took nine images of ten.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count, classes = len(np.unique(known.units)), known.strata
    if count < 2:
        raise UserError(
            "--groups: all labelled images are of one group, which cannot be on both sides: give "
            "images of other groups, or test images as test/"
        )
    largest = int(known.class_counts()[1].max())
    if largest < 2:
        classes, largest = np.zeros_like(classes), len(classes)
    splitter = StratifiedGroupKFold(
        min(round(1 / HELD_OUT), count, largest), shuffle=True, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer images than folds
        folds = [fold for _, fold in splitter.split(classes, classes, known.groups) if len(fold)]
    masks = [np.isin(np.arange(len(known)), fold) for fold in folds]
    return min(
        masks,
        key=lambda held: (
            -min(_classes_on_both_sides(classes, held), 2),
            abs(held.sum() - HELD_OUT * len(held)),
        ),
    )


def _classes_on_both_sides(classes: np.ndarray, held: np.ndarray) -> int:
    """Count the classes that have both held-out images and training images."""
    return len(np.intersect1d(classes[held], classes[~held]))


def _with_remark(images: Images, remark: str) -> Images:
    return dataclasses.replace(images, remarks=(*images.remarks, remark))


def _without_labels(images: Images) -> Images:
    return dataclasses.replace(images, labels=None, classes=())
