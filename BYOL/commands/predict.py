"""``byol predict``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.commands.common import Answer, as_the_run, pictures_for
from BYOL.commands.features import Features, open_features
from BYOL.config.labelling import PredictConfig
from BYOL.curation.tables import check_output, write_table
from BYOL.data.annotated import annotated
from BYOL.data.groups import check_grouped
from BYOL.data.images import Images
from BYOL.data.rows import row_name
from BYOL.data.sources import Splits
from BYOL.errors import UserError
from BYOL.evaluation.guessing import PARTS, SURE, Known, contradicted, fit, judged, unseen
from BYOL.evaluation.intervals import Measures
from BYOL.evaluation.linear import Guess
from BYOL.evaluation.subjects import CLASSES, NOTHING, task_of

Key = tuple[str, str]  # of a labelled picture: its split and its name there


@dataclass
class Guesses:
    """What is said of every picture.

    Args:
        features: of all of them.
        known: the labelled ones.
        classes: names of the classes, tags or values.
        unseen: (n, t) guesses of the labelled pictures by probes that have not seen them.
        place: in ``known``, of the labelled pictures that are among all of them.
        guess: of all others.
        count: pictures that were passed on.
    """

    features: Features
    known: Known
    classes: tuple[str, ...]
    unseen: np.ndarray
    place: dict[Key, int]
    guess: Guess
    count: int = 0

    def columns(self) -> tuple[str, ...]:
        """Of the file: the last are of the guess."""
        if self.known.task == CLASSES:
            return ("file", "split", "label", "prediction", "probability")
        return ("file", "split", "labelled", *self.classes)

    def rows(self) -> Iterator[tuple[object, ...]]:
        """Of the file, a batch of pictures at a time."""
        several = len(self.features.sets) > 1
        for split, images, ids, vectors in self.features.batches():
            names = [images.sample_name(i) for i in ids.tolist()]
            places = [self.place.get((split, name)) for name in names]
            found = self.guess(vectors.astype(np.float32, copy=False))
            for i, place in enumerate(places):
                if place is not None:
                    found[i] = self.unseen[place]
            self.count += len(ids)
            for i, place, scores in zip(ids.tolist(), places, found, strict=True):
                yield (row_name(images, i, several), split, *self._said(place, scores))

    def _said(self, place: int | None, scores: np.ndarray) -> tuple[object, ...]:
        if self.known.task != CLASSES:
            return ("no" if place is None else "yes", *(_number(score) for score in scores))
        label = "" if place is None else self.classes[self.known.labels[place]]
        best = int(np.nan_to_num(scores).argmax())
        said = "" if np.isnan(scores[best]) else self.classes[best]
        return (label, said, _number(scores[best]))


def predict_run(config: PredictConfig) -> Answer:
    """``byol predict``: labels for all pictures, from those of some and a run's features.

    Raises:
        UserError: no run, no pictures, no labels or of one class only, files that do not fit, a
            wrong ending, a file that cannot be written.
    """
    out = check_output("out", config.out, ".csv")
    features = open_features(config)
    if config.labelled is None:
        config = as_the_run(config, features.run)
    for file in filter(None, (config.labels, config.groups)):
        if out.exists() and Path(file).exists() and out.samefile(file):
            raise UserError(f"--out={out} is what is learnt from: give another file")
    guesses = _learnt(features, _labelled(features, config), config)
    write_table(out, guesses.columns(), guesses.rows())
    return _answer(guesses, out, config.seed)


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


def _learnt(features: Features, labelled: dict[str, Images], config: PredictConfig) -> Guesses:
    seed, elsewhere = config.seed, config.labelled is not None
    place: dict[Key, int] = {}
    vectors, labels, groups = [], [], []
    for split, images in labelled.items():
        ids, found = features.of(images)
        for i in ids.tolist():
            place[split, images.sample_name(i)] = len(place)
        assert images.labels is not None
        vectors.append(found)
        labels.append(images.labels[ids])
        groups += [] if images.groups is None else [images.groups[ids]]
    classes, task = images.classes, task_of(images)
    together = np.concatenate(groups) if groups else None
    known = Known(np.concatenate(vectors), np.concatenate(labels), task, len(classes), together)
    here = {} if elsewhere else place
    return Guesses(features, known, classes, unseen(known, seed), here, fit(known, seed))


def _answer(guesses: Guesses, out: Path, seed: int) -> Answer:
    known = guesses.known
    measures = judged(known, guesses.unseen, seed)
    doubted = int(contradicted(known, guesses.unseen).sum())
    left_out = guesses.features.total - guesses.count
    answer: dict[str, Any] = {
        "out": str(out),
        "pictures": guesses.count,
        "left_out": left_out,
        "labelled": len(known),
        "task": known.task,
        "classes": list(guesses.classes),
        "measures": measures,
        "contradicted": doubted,
    }
    lines = [
        f"{guesses.count:,} pictures in {out}, labels of {len(known):,} are known"
        + (f"; {left_out:,} could not be read" if left_out else "")
    ]
    if measures:
        lines.append(
            f"these guessed in {PARTS} parts, each by what the others teach: {_measured(measures)}"
        )
    if doubted:
        said = "label is" if doubted == 1 else "labels are"
        lines.append(
            f"{doubted:,} {said} contradicted with a probability of {SURE} or more: look at these "
            "pictures"
        )
    return answer, "\n".join(lines)


def _measured(measures: Measures) -> str:
    return ", ".join(
        f"{name} {m.get('accuracy', m.get('value', 0.0)):.3f} [{m['low']:.3f}, {m['high']:.3f}]"
        for name, m in measures.items()
    )


def _number(score: float) -> float | str:
    return "" if np.isnan(score) else float(f"{score:.4g}")
