"""``byol predict``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from BYOL._console import counted
from BYOL._csv import check_output, write_table
from BYOL.cli.commands.common import Answer
from BYOL.config.curation import PredictConfig
from BYOL.config.tasks import CLASSES
from BYOL.curation.labelled import (
    concatenate_parts,
    describe_cross_validation,
    labelled_parts,
    resolve_annotations,
)
from BYOL.curation.run_features import Features, open_features
from BYOL.data.csv_rows import row_name
from BYOL.errors import UserError
from BYOL.evaluation.cross_val_predict import (
    SURE,
    LabelledFeatures,
    contradicts_label,
    cross_val_predict,
    fit_probe,
    prediction_measures,
)
from BYOL.model.linear_head import LinearLayer


@dataclass
class Guesses:
    """What is said of every picture.

    Args:
        features: of all of them.
        known: the labelled ones.
        classes: names of the classes, tags or values.
        guess: of pictures without a label.
        unseen: (n, t) guesses of the labelled pictures by probes that have not seen them.
        place: in ``known``, of the labelled pictures that are among all of them, by split and name.
        count: pictures that were passed on.
    """

    features: Features
    known: LabelledFeatures
    classes: tuple[str, ...]
    guess: LinearLayer
    unseen: np.ndarray
    place: dict[tuple[str, str], int]
    count: int = 0

    def columns(self) -> tuple[str, ...]:
        """Of the file: the last are of the guess."""
        if self.known.task == CLASSES:
            return ("file", "split", "label", "prediction", "probability")
        return ("file", "split", "labelled", *self.classes)

    def rows(self) -> Iterator[tuple[object, ...]]:
        """Of the file, a batch of pictures at a time."""
        several = self.features.splits.test is not None
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
    config = resolve_annotations(config, features.run)
    for file in filter(None, (config.labels, config.groups)):
        if out.exists() and Path(file).exists() and out.samefile(file):
            raise UserError(f"--out={out} is what is learnt from: give another file")
    guesses = _guesses(features, config)
    write_table(out, guesses.columns(), guesses.rows())
    return _answer(guesses, out, config.seed)


def _guesses(features: Features, config: PredictConfig) -> Guesses:
    parts = labelled_parts(features, config)
    known, seed = concatenate_parts(parts), config.seed
    place: dict[tuple[str, str], int] = {}
    if config.labelled is None:
        for part in parts:
            for i in range(len(part.images)):
                place[part.split, part.images.sample_name(i)] = len(place)
    taught = fit_probe(known, seed), cross_val_predict(known, seed)
    return Guesses(features, known, parts[0].images.classes, *taught, place)


def _answer(guesses: Guesses, out: Path, seed: int) -> Answer:
    known = guesses.known
    measures = prediction_measures(known, guesses.unseen, seed)
    doubted = int(contradicts_label(known, guesses.unseen).sum())
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
        f"{counted(guesses.count, 'picture')} in {out}, labels of {len(known):,} are known"
        + (f"; {left_out:,} could not be read" if left_out else "")
    ]
    if measures:
        lines.append(describe_cross_validation(measures))
    elif known.groups is not None and len(np.unique(known.groups)) < 2:
        lines.append(
            "all of them are of one group: nothing is said of these, nor of how good the others are"
        )
    if doubted:
        said = "label is" if doubted == 1 else "labels are"
        lines.append(
            f"{doubted:,} {said} contradicted with a probability of {SURE} or more: look at these "
            "pictures"
        )
    return answer, "\n".join(lines)


def _number(score: float) -> float | str:
    return "" if np.isnan(score) else float(f"{score:.4g}")
