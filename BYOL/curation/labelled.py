"""Labelled pictures and their features: what predict and the classifier of export learn from."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from BYOL.config.labelling import PredictConfig
from BYOL.config.tasks import CLASSES, NOTHING, Measures
from BYOL.curation.run_features import Features
from BYOL.curation.run_images import as_the_run, pictures_elsewhere
from BYOL.data.annotations import annotated
from BYOL.data.dataset import Images, why_unlabelled
from BYOL.data.groups import check_grouped
from BYOL.errors import UserError
from BYOL.evaluation.bootstrap import in_words
from BYOL.evaluation.cross_val_predict import PARTS, Known
from BYOL.evaluation.splits import task_of
from BYOL.runs.open import Run

TEST = "test"  # a split


@dataclass(frozen=True, eq=False)
class Part:
    """Labelled pictures of a split.

    Args:
        split: train, labelled or test.
        images: those that can be read.
        features: (n, d) float32 of them.
    """

    split: str
    images: Images
    features: np.ndarray


def settled(config: PredictConfig, run: Run) -> PredictConfig:
    """With the run's own files of labels and groups, where the run's own pictures teach."""
    return config if config.labelled else as_the_run(config, run)


def labelled_parts(features: Features, config: PredictConfig) -> list[Part]:
    """The labelled pictures of ``features``, or those that lie elsewhere, and what they look like.

    Args:
        features: opened with these settings.
        config: :func:`settled`.

    Raises:
        UserError: no labels, files that do not fit, none of the pictures can be read.
    """
    parts = []
    for split, images in _labelled(features, config).items():
        ids, found = features.of(images)
        readable = images if len(ids) == len(images) else images.subset(ids)
        parts.append(Part(split, readable, found))
    return parts


def known_of(parts: Sequence[Part]) -> Known:
    """All of the parts as what a probe learns from, or is judged by."""
    first = parts[0].images
    labels, groups = [], []
    for part in parts:
        assert part.images.labels is not None
        labels.append(part.images.labels)
        groups += [] if part.images.groups is None else [part.images.groups]
    return Known(
        np.concatenate([part.features for part in parts]),
        np.concatenate(labels),
        task_of(first),
        len(first.classes),
        np.concatenate(groups) if groups else None,
    )


def _labelled(features: Features, config: PredictConfig) -> dict[str, Images]:
    """The pictures with labels, by split."""
    all_ = features.splits
    if config.labelled is not None:
        all_ = pictures_elsewhere(features.run, config.labelled, config.data_root, "labelled")
    file = annotated(all_, config.labels, config.task, config.groups)
    splits = file.splits
    parts = {"train": splits.train, "labelled": splits.labelled, TEST: splits.test}
    found = {name: part for name, part in parts.items() if part and task_of(part) != NOTHING}
    if not found:
        raise UserError(
            f"{splits.train.name} has no labels{why_unlabelled(splits.train)}: give those of some "
            "pictures as --labels=FILE.csv"
        )
    longest = max((part.classes for part in found.values()), key=len)
    alike = all(part.classes == longest[: len(part.classes)] for part in found.values())
    classes = {task_of(part) for part in found.values()} == {CLASSES}
    if classes and alike:  # test/ may have a class more, behind those of train/
        found = {name: dataclasses.replace(p, classes=longest) for name, p in found.items()}
    elif len({(task_of(part), part.classes) for part in found.values()}) > 1:
        raise UserError(f"{splits.train.name}: train and test have labels of different kinds")
    if file.groups:
        check_grouped(list(found.values()), file.groups)
    return found


def measured(measures: Measures) -> str:
    """A line of how good the guesses of labelled pictures are."""
    return f"these guessed in {PARTS} parts, each by what the others teach: {in_words(measures)}"
