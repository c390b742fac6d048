"""Labelled pictures and their features: what predict and the classifier of export learn from."""

from dataclasses import dataclass

import numpy as np

from BYOL.commands.common import as_the_run, pictures_for
from BYOL.commands.features import Features
from BYOL.config.labelling import PredictConfig
from BYOL.data.annotated import annotated
from BYOL.data.groups import check_grouped
from BYOL.data.images import Images
from BYOL.data.sources import Splits
from BYOL.errors import UserError
from BYOL.evaluation.guessing import PARTS, Known
from BYOL.evaluation.intervals import Measures, in_words
from BYOL.evaluation.subjects import NOTHING, task_of
from BYOL.runs import Run

Key = tuple[str, str]  # of a labelled picture: its split and its name there


@dataclass(frozen=True, eq=False)
class Teaching:
    """Labelled pictures.

    Args:
        known: their features and labels.
        classes: names of the classes, tags or values.
        place: where in ``known`` each is.
    """

    known: Known
    classes: tuple[str, ...]
    place: dict[Key, int]


def settled(config: PredictConfig, run: Run) -> PredictConfig:
    """With the run's own files of labels and groups, where the run's own pictures teach."""
    return config if config.labelled else as_the_run(config, run)


def taught(features: Features, config: PredictConfig) -> Teaching:
    """The labelled pictures of ``features``, or those that lie elsewhere.

    Args:
        features: opened with these settings.
        config: :func:`settled`.

    Raises:
        UserError: no labels, files that do not fit, none of the pictures can be read.
    """
    place: dict[Key, int] = {}
    vectors, labels, groups = [], [], []
    for split, images in _labelled(features, config).items():
        ids, found = features.of(images)
        for i in ids.tolist():
            place[split, images.sample_name(i)] = len(place)
        assert images.labels is not None
        vectors.append(found)
        labels.append(images.labels[ids])
        groups += [] if images.groups is None else [images.groups[ids]]
    classes, task = images.classes, task_of(images)
    together = np.concatenate(groups) if groups else None
    all_ = np.concatenate(vectors), np.concatenate(labels)
    return Teaching(Known(*all_, task, len(classes), together), classes, place)


def _labelled(features: Features, config: PredictConfig) -> dict[str, Images]:
    """The pictures with labels, by split."""
    all_ = features.splits if config.labelled is None else _elsewhere(features, config)
    file = annotated(all_, config.labels, config.task, config.groups)
    splits = file.splits
    parts = {"train": splits.train, "labelled": splits.labelled, "test": splits.test}
    found = {name: part for name, part in parts.items() if part and task_of(part) != NOTHING}
    if not found:
        raise UserError(
            f"{splits.train.name} has no labels: give those of some pictures as --labels=FILE.csv"
        )
    if len({(task_of(part), part.classes) for part in found.values()}) > 1:
        raise UserError(f"{splits.train.name}: train and test have labels of different kinds")
    if file.groups:
        check_grouped(list(found.values()), file.groups)
    return found


def _elsewhere(features: Features, config: PredictConfig) -> Splits:
    try:
        return pictures_for(features.run, config.labelled, config.data_root)
    except UserError as error:
        raise UserError(str(error).replace("DATA=", "--labelled=", 1)) from error


def measured(measures: Measures) -> str:
    """A line of how good the guesses of labelled pictures are."""
    return f"these guessed in {PARTS} parts, each by what the others teach: {in_words(measures)}"
