"""The command ``byol predict``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from BYOL._console import counted
from BYOL._files import check_output_file, write_csv
from BYOL.cli.commands.common import Answer
from BYOL.config.curation import PredictConfig
from BYOL.config.tasks import CLASSES
from BYOL.curation.labelled import (
    concatenate_parts,
    labelled_parts,
    resolve_annotations,
)
from BYOL.curation.run_features import Features, open_features
from BYOL.data.dataset import Images
from BYOL.data.eval_loader import batch_spans
from BYOL.errors import UserError
from BYOL.evaluation.cross_val_predict import FOLDS, cross_val_predict, fit_probe
from BYOL.evaluation.deciding import check_metric
from BYOL.evaluation.estimate import contradicts_label, estimate_quality
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.model.linear_head import LinearLayer


@dataclass
class Predictions:
    """The predictions for every image.

    Args:
        features: the features of all images.
        known: the features and labels of the labelled images.
        probe: predicts the labels of images without a label.
        cross_predictions: (n, t) predictions for the labelled images by cross-validation.
        position: index in ``known`` of the labelled images that are among all images, by name.
        suspect: (n,) bool, the labels that may be wrong.
        count: number of images that were written.
    """

    features: Features
    known: LabelledFeatures
    probe: LinearLayer
    cross_predictions: np.ndarray
    position: dict[str, int]
    suspect: np.ndarray
    count: int = 0

    def columns(self) -> tuple[str, ...]:
        """The columns of the file. The last ones hold the prediction."""
        if self.known.task == CLASSES:
            return ("file", "split", "label", "prediction", "probability", "suspect")
        return ("file", "split", "labelled", *self.known.classes)

    def rows(self) -> Iterator[tuple[object, ...]]:
        """The rows of the file. Features of images without a label are computed in batches."""
        for split, images, ids, vectors in self._batches():
            places = [self.position.get(images.file_name(i)) for i in ids]
            if vectors is None:
                found = np.empty((len(ids), self.known.count))
            else:
                found = self.probe(vectors.astype(np.float32, copy=False))
            for i, place in enumerate(places):
                if place is not None:
                    found[i] = self.cross_predictions[place]
            self.count += len(ids)
            for i, place, scores in zip(ids, places, found, strict=True):
                yield (images.file_name(i), split, *self._cells(place, scores))

    def _batches(self) -> Iterator[tuple[str, Images, list[int], np.ndarray | None]]:
        """Yield batches of all images; without features where all of them have labels."""
        if self.features.stored:
            for split, images, ids, vectors in self.features.batches():
                yield split, images, ids.tolist(), vectors
            return
        for split, images in self.features.sets.items():
            spans = batch_spans(0, len(images), self.features.batch_size)
            unknown = [span for span in spans if not self._all_labelled(images, span)]
            computed = self.features.batches(spans={split: unknown}) if unknown else iter(())
            batch, to_compute = next(computed, None), set(unknown)
            for span in spans:
                if span not in to_compute:
                    yield split, images, list(range(*span)), None
                elif batch and batch[2][0] < span[1]:  # otherwise none of its images can be read
                    yield split, images, batch[2].tolist(), batch[3]
                    batch = next(computed, None)

    def _all_labelled(self, images: Images, span: tuple[int, int]) -> bool:
        return all(images.file_name(i) in self.position for i in range(*span))

    def _cells(self, place: int | None, scores: np.ndarray) -> tuple[object, ...]:
        if self.known.task != CLASSES:
            return ("no" if place is None else "yes", *(_number(score) for score in scores))
        label = "" if place is None else self.known.name(self.known.labels[place])
        best = int(np.nan_to_num(scores).argmax())
        predicted = "" if np.isnan(scores[best]) else self.known.name(best)
        suspect = "yes" if place is not None and self.suspect[place] else ""
        return (label, predicted, _number(scores[best]), suspect)


def predict_run(config: PredictConfig) -> Answer:
    """Predict the labels of all images from labelled ones, with a linear probe on the features.

    Raises:
        UserError: there is no run, there are no images, there are no labels or only one class, the
            files do not fit, or the output cannot be written.
    """
    out = check_output_file("out", config.out, ".csv")
    features = open_features(config)
    config = resolve_annotations(config, features.run)
    for file in filter(None, (config.labels, config.groups)):
        if out.exists() and Path(file).exists() and out.samefile(file):
            raise UserError(f"--out={out} is read as labels or groups: give another file")
    predictions = _predictions(features, config)
    known = predictions.known
    metric = check_metric(config.metric, known.task, known.count)
    write_csv(out, predictions.columns(), predictions.rows())
    return _answer(predictions, out, metric)


def _predictions(features: Features, config: PredictConfig) -> Predictions:
    parts = labelled_parts(features, config)
    known, seed = concatenate_parts(parts), config.seed
    position: dict[str, int] = {}
    if config.labelled is None:
        for part in parts:
            for i in range(len(part.images)):
                position[part.images.file_name(i)] = len(position)
    probe, guesses = fit_probe(known, seed), cross_val_predict(known, seed)
    suspect = contradicts_label(known, guesses)
    return Predictions(features, known, probe, guesses, position, suspect)


def _answer(predictions: Predictions, out: Path, metric: str) -> Answer:
    known = predictions.known
    estimate = estimate_quality(known, predictions.cross_predictions, metric)
    doubted = int(predictions.suspect.sum())
    left_out = predictions.features.total - predictions.count
    answer: dict[str, Any] = {
        "out": str(out),
        "pictures": predictions.count,
        "left_out": left_out,
        "labelled": len(known),
        "task": known.task,
        "classes": list(known.classes),
        "metric": metric,
        **estimate.as_dict(),
        "contradicted": doubted,
    }
    lines = [
        f"{counted(predictions.count, 'image')} in {out}, labels of {len(known):,} are known"
        + (f"; {left_out:,} could not be read" if left_out else "")
    ]
    one_group = known.groups is not None and len(np.unique(known.groups)) < 2
    if estimate.measures:
        lines.append(f"{FOLDS}-fold cross-validation: {estimate.text}")
    elif one_group:
        lines.append(
            "all of them are in one group: there is no prediction for these, and no estimate "
            "of accuracy"
        )
    elif estimate.lacking:
        lines.append(estimate.lacking_text)
    if doubted:
        labels = "label is" if doubted == 1 else "labels are"
        lines.append(f"{doubted:,} {labels} probably wrong (column suspect): check these images")
    return answer, "\n".join(lines)


def _number(score: float) -> float | str:
    return "" if np.isnan(score) else float(f"{score:.4g}")
