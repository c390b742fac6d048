"""Training, validation and test images: labels from files, and the rules for holding images out.

A test set is used where there is one. Otherwise a fifth of the labelled images is held out, image
by image or by whole groups.
"""

import dataclasses
import warnings

import numpy as np

from BYOL.config import PretrainConfig
from BYOL.config.tasks import CLASSES, NOTHING, TAGS, VALUES
from BYOL.data.annotations import AnnotationFiles, annotate_splits
from BYOL.data.dataset import Images
from BYOL.data.groups import GroupFile, check_all_grouped, shared_groups_warning
from BYOL.data.sources import Splits
from BYOL.errors import UserError
from BYOL.evaluation.varying import has_one_label

HELD_OUT = 0.2  # share of the labelled images that is held out if there is no test set


def attach_labels(splits: Splits, config: PretrainConfig) -> Splits:
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
    if task_of(bank) == CLASSES:
        if test is None:
            by_groups = None if bank.groups is None else held_out_mask(bank.labels, 0, bank.groups)
            return holdout_problem(bank.labels, by_groups)
        one_class = has_one_label(bank.labels)
        return "the training images are of one class" if one_class else None
    if test is None:
        held = held_out_mask(bank.labels, seed, bank.groups)
        splits = {"training": bank.labels[~held], "test": bank.labels[held]}
    else:
        assert test.labels is not None
        splits = {"training": bank.labels, "test": test.labels}
    equal = next((name for name, labels in splits.items() if has_one_label(labels)), None)
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
    by_groups = None if train.groups is None else held_out_mask(train.labels, seed, train.groups)
    problem = holdout_problem(train.labels, by_groups) if task_of(train) == CLASSES else None
    if problem:
        raise UserError(f"{train.name}: {problem}; give test images as its test/")
    held = held_out_mask(train.labels, seed) if by_groups is None else by_groups
    return train.subset(np.flatnonzero(~held)), train.subset(np.flatnonzero(held))


def task_of(images: Images) -> str:
    """Return the kind of labels of ``images``, which their shape and dtype determine.

    Returns:
        ``classification`` for (n,) integers, ``multilabel`` for (n, t) booleans, ``regression``
        for (n, t) floats, ``none`` without labels.
    """
    if images.labels is None:
        return NOTHING
    if images.labels.ndim == 1:
        return CLASSES
    return TAGS if images.labels.dtype == bool else VALUES


def label_count(images: Images) -> int:
    """Return the number of classes, tags or values that ``images`` have labels of; 0 without."""
    if images.labels is None:
        return 0
    return len(np.unique(images.labels)) if images.labels.ndim == 1 else images.labels.shape[1]


def comparable_test_set(test: Images | None, train: Images) -> Images | None:
    """Return ``test`` if its labels are of the same kind as those of ``train``, else None.

    Without such a test set a part of ``train`` is held out.
    """
    return test if test is not None and task_of(test) == task_of(train) else None


def holdout_problem(labels: np.ndarray, held: np.ndarray | None = None) -> str | None:
    """Return why holding out a fifth of the images gives no meaningful accuracy, or None.

    Folders of one image each are no classes, and one test image for several classes does not
    measure them.

    Args:
        labels: (n,) integers.
        held: (n,) bool, the test images if whole groups are held out; None if images are drawn
            one by one.
    """
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2:
        return "all images are of one class"
    several = int((counts >= 2).sum())
    if several < 2:
        return f"of {len(counts):,} classes {several or 'none'} has two images; two classes must"
    if held is not None and (both := _classes_on_both_sides(labels, held)) < 2:
        return (
            f"of {len(counts):,} classes {both or 'none'} has images on both sides when whole "
            "groups are held out; two classes must"
        )
    test_count = int((held_out_mask(labels, 0) if held is None else held).sum())
    if test_count < len(counts):
        return f"holding out a fifth leaves {test_count:,} test images for {len(counts):,} classes"
    return None


def held_out_mask(labels: np.ndarray, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Return a mask (n,) bool of a fifth of every class, but never of the last sample of a class.

    For labels that are not classes it is a fifth of all samples.

    Args:
        labels: (n,) classes, or (n, t) tags or values.
        seed: seed of the draw.
        groups: (n,) integers or None. If present, whole groups are held out, as close to a fifth
            of every class as they allow. A class of few groups may be on one side only.

    Raises:
        UserError: no class has two samples, or there are fewer than two groups.
    """
    if groups is not None:
        return _held_out_groups(labels, seed, groups)
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    classes = as_classes(labels)
    for c in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == c))
        held[members[: max(round(len(members) * HELD_OUT), min(1, len(members) - 1))]] = True
    if not held.any():
        raise UserError("no class has two images: none can be held out as a test image")
    return held


def validation_mask(labels: np.ndarray, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the mask (n,) bool of the validation samples, which choose hyperparameters.

    The arguments are those of :func:`held_out_mask`, which draws the samples. The mask is empty if
    no class has two samples, if all samples are of one group, or if fewer than two classes are on
    both sides of a split by groups.
    """
    none = np.zeros(len(labels), dtype=bool)
    if groups is not None and len(np.unique(groups)) < 2:
        return none
    if groups is None and np.unique(as_classes(labels), return_counts=True)[1].max() < 2:
        return none
    held = held_out_mask(labels, seed, groups)
    if groups is not None and labels.ndim == 1 and _classes_on_both_sides(labels, held) < 2:
        return none
    return held


def balanced_share(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return sorted positions of the same share of every class, at least one sample of each.

    For the same ``seed`` a smaller share is a subset of a larger one. If there is one class, at
    least two samples are returned, because training a network with batch norm needs two.

    Args:
        labels: (n,) integers.
        share: above 0, at most 1.
        seed: seed of the draw.
    """
    rng = np.random.default_rng(seed)
    parts = []
    classes = np.unique(labels)
    least = 1 if len(classes) > 1 else 2
    for c in classes:
        members = rng.permutation(np.flatnonzero(labels == c))
        parts.append(members[: max(round(share * len(members)), least)])
    return np.sort(np.concatenate(parts))


def as_classes(labels: np.ndarray) -> np.ndarray:
    """Return (n,) integers: ``labels`` if they are classes, else one class for all samples."""
    return labels if labels.ndim == 1 else np.zeros(len(labels), dtype=np.int64)


def _held_out_groups(labels: np.ndarray, seed: int, groups: np.ndarray) -> np.ndarray:
    """Return the fold of scikit-learn's splitter that has two classes on both sides, as a mask.

    Of several such folds it is the one closest to a fifth. The first fold is not always suitable
    because it has the largest group, for example a camera that took nine images of ten.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count, classes = len(np.unique(groups)), as_classes(labels)
    if count < 2:
        raise UserError(
            "--groups: all labelled images are of one group, which cannot be on both sides: give "
            "images of other groups, or test images as test/"
        )
    largest = int(np.unique(classes, return_counts=True)[1].max())
    if largest < 2:
        classes, largest = np.zeros_like(classes), len(classes)
    splitter = StratifiedGroupKFold(
        min(round(1 / HELD_OUT), count, largest), shuffle=True, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes with fewer images than folds
        folds = [fold for _, fold in splitter.split(classes, classes, groups) if len(fold)]
    masks = [np.isin(np.arange(len(labels)), fold) for fold in folds]
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
