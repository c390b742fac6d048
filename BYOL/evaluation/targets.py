"""Training targets for each kind of label: a loss, a comparison of outputs, and measures."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from BYOL.config.tasks import CLASSES, TAGS, Measures
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.metrics import score_predictions
from BYOL.evaluation.types import EvaluationData

_MIN_SPREAD = 1e-12  # standard deviation of a column of values; below it the column is constant


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels of the training images in the form in which a last layer is trained on them.

    Args:
        task: kind of the labels.
        labels: (n,) int64 classes, or (n, t) float32: tags as 0 and 1, or standardised values.
        centre: (t,) mean of the values; zeros for classes and tags.
        spread: (t,) standard deviation of the values; ones for classes and tags.
    """

    task: str
    labels: Tensor
    centre: Tensor
    spread: Tensor

    def loss(self, outputs: Tensor, ids: Tensor) -> Tensor:
        """Return the mean loss of a batch: cross-entropy, binary cross-entropy, or squared error.

        Args:
            outputs: (B, t) outputs of the last layer.
            ids: (B,) numbers of the images in the batch.
        """
        targets = self.labels[ids]
        if self.task == CLASSES:
            return F.cross_entropy(outputs, targets)
        if self.task == TAGS:
            return F.binary_cross_entropy_with_logits(outputs, targets)
        return F.mse_loss(outputs, targets)

    @torch.no_grad()
    def unscale(self, head: nn.Linear) -> None:
        """Fold the standardisation into the layer ``head``: its outputs become raw values."""
        head.weight.mul_(self.spread[:, None])
        head.bias.mul_(self.spread).add_(self.centre)


def build_targets(known: LabelledSet, count: int, device: torch.device) -> Targets:
    """Return the targets of ``known`` for a last layer with ``count`` outputs."""
    centre, spread, labels = np.zeros(count), np.ones(count), known.labels
    if known.task == CLASSES:
        targets = torch.as_tensor(labels)
    else:
        if known.task != TAGS:
            centre, spread = labels.mean(axis=0), labels.std(axis=0)
            spread = np.where(spread > _MIN_SPREAD, spread, 1.0)
        targets = torch.as_tensor((labels - centre) / spread, dtype=torch.float32)
    scale = (torch.as_tensor(part, dtype=torch.float32, device=device) for part in (centre, spread))
    return Targets(known.task, targets.to(device), *scale)


def selection_score(outputs: np.ndarray, truth: LabelledSet) -> float:
    """Return a score by which settings are compared; a higher score is better.

    The score is the accuracy for classes, the mean log-likelihood for tags, and the negative mean
    squared error of standardised values.

    Args:
        outputs: (q, t) outputs of a last layer.
        truth: the true labels.

    Returns:
        The score; minus infinity if ``outputs`` are not finite.
    """
    if not np.isfinite(outputs).all():
        return -np.inf
    labels = truth.labels
    if truth.task == CLASSES:
        return float((outputs.argmax(axis=1) == labels).mean())
    if truth.task == TAGS:
        return -float(np.logaddexp(0, np.where(labels, -outputs, outputs)).mean())
    spread = labels.std(axis=0)
    errors = (outputs - labels) / np.where(spread > _MIN_SPREAD, spread, 1.0)
    return -float((errors**2).mean())


def output_measures(name: str, outputs: np.ndarray, data: EvaluationData) -> Measures:
    """Return the measures of ``outputs`` (q, t) for the test images."""
    predictions = as_predictions(data.task, outputs)
    return score_predictions(name, predictions, data.test_set, data.positive)


def as_predictions(task: str, outputs: np.ndarray) -> np.ndarray:
    """Return ``outputs`` (q, t) of a last layer as class scores, tag probabilities or values."""
    if task != TAGS:
        return outputs
    from scipy.special import expit

    return expit(outputs)
