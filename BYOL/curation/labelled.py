"""Labelled images and their features, for ``byol predict`` and the classifiers of export."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from BYOL.config.curation import PredictConfig
from BYOL.config.tasks import CLASSES, NOTHING
from BYOL.curation.outputs import output_files
from BYOL.curation.run_features import Features
from BYOL.curation.run_images import open_images_of_flag, with_run_annotations
from BYOL.data.annotations import AnnotationFiles, annotate_splits
from BYOL.data.dataset import Images, unlabelled_reason
from BYOL.data.groups import check_all_grouped
from BYOL.errors import UserError
from BYOL.evaluation.labelled_set import LabelledFeatures, LabelledSet, task_of
from BYOL.runs.open import Run

TEST = "test"  # the name of the test split


@dataclass(frozen=True, eq=False)
class LabelledSplit:
    """The labelled images of a split.

    Args:
        split: train, labelled or test.
        images: the readable labelled images.
        features: (n, d) float32 features of ``images``.
    """

    split: str
    images: Images
    features: np.ndarray


def resolve_annotations(config: PredictConfig, run: Run) -> PredictConfig:
    """Fill in the label and group files of ``run`` if its own images are the training images."""
    return config if config.labelled else with_run_annotations(config, run)


def labelled_parts(features: Features, config: PredictConfig) -> list[LabelledSplit]:
    """Return the labelled images of ``features`` or of ``config.labelled``, with their features.

    Args:
        features: opened with the same settings.
        config: the configuration, as returned by :func:`resolve_annotations`.

    Raises:
        UserError: there are no labels, the label files do not match the images, or no image can be
            read.
    """
    parts = []
    for split, images in _labelled(features, config).items():
        from_data = config.labelled is None and split in features.sets
        ids, vectors = features.of(images, from_data=from_data)
        readable = images if len(ids) == len(images) else images.subset(ids)
        parts.append(LabelledSplit(split, readable, vectors))
    return parts


def concatenate_parts(parts: Sequence[LabelledSplit]) -> LabelledFeatures:
    """Concatenate ``parts`` to one labelled set, for training or evaluation of a probe."""
    known = [LabelledSet.of(part.images) for part in parts]
    groups = [part.groups for part in known if part.groups is not None]
    return LabelledFeatures(
        np.concatenate([part.labels for part in known]),
        known[0].classes,
        np.concatenate(groups) if groups else None,
        features=np.concatenate([part.features for part in parts]),
    )


def _labelled(features: Features, config: PredictConfig) -> dict[str, Images]:
    """Return the images with labels by split."""
    splits = features.splits
    if config.labelled is not None:
        splits = open_images_of_flag(
            features.run, config.labelled, config.data_root, "labelled", output_files(config)
        )
    annotations = annotate_splits(splits, AnnotationFiles.of(config))
    splits = annotations.splits
    parts = {"train": splits.train, "labelled": splits.labelled, TEST: splits.test}
    labelled = {name: part for name, part in parts.items() if part and task_of(part) != NOTHING}
    if not labelled:
        raise UserError(
            f"{splits.train.name} has no labels{unlabelled_reason(splits.train)}: give labels of "
            "some images as --labels=FILE.csv"
        )
    longest = max((part.classes for part in labelled.values()), key=len)
    is_prefix = all(part.classes == longest[: len(part.classes)] for part in labelled.values())
    only_classes = {task_of(part) for part in labelled.values()} == {CLASSES}
    if only_classes and is_prefix:  # test/ may have additional classes after those of train/
        labelled = {name: dataclasses.replace(p, classes=longest) for name, p in labelled.items()}
    elif len({(task_of(part), part.classes) for part in labelled.values()}) > 1:
        raise UserError(f"{splits.train.name}: train and test have labels of different kinds")
    if annotations.groups:
        check_all_grouped(list(labelled.values()), annotations.groups)
    return labelled
