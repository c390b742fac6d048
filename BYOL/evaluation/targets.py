"""What labels of each kind ask of the outputs of a network: a loss, a comparison, measures."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from BYOL.config.tasks import CLASSES, TAGS, Measures
from BYOL.evaluation.metrics import scored
from BYOL.evaluation.types import Exam

_LEAST_SPREAD = 1e-12  # of a column of values: below it they are all the same


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels of the pictures that teach, as a last layer learns them.

    Args:
        task: what they are.
        labels: (n,) int64 classes, or (n, t) float32: tags as 0 and 1, values standardised.
        centre: (t,) mean of the values; zeros for all else.
        spread: (t,) their standard deviation; ones for all else.
    """

    task: str
    labels: Tensor
    centre: Tensor
    spread: Tensor

    def loss(self, outputs: Tensor, ids: Tensor) -> Tensor:
        """Mean loss of a batch: cross-entropy, of every tag by itself, or the squared error.

        Args:
            outputs: (B, t) of the last layer.
            ids: (B,) which of the pictures they are of.
        """
        wanted = self.labels[ids]
        if self.task == CLASSES:
            return F.cross_entropy(outputs, wanted)
        if self.task == TAGS:
            return F.binary_cross_entropy_with_logits(outputs, wanted)
        return F.mse_loss(outputs, wanted)

    @torch.no_grad()
    def unscale(self, head: nn.Linear) -> None:
        """Make a trained last layer put out values as they are, no longer standardised."""
        head.weight.mul_(self.spread[:, None])
        head.bias.mul_(self.spread).add_(self.centre)


def targets_of(labels: np.ndarray, task: str, count: int, device: torch.device) -> Targets:
    """``labels`` are (n,) classes or (n, t) tags or values; ``count`` is that of the outputs."""
    centre, spread = np.zeros(count), np.ones(count)
    if task == CLASSES:
        wanted = torch.as_tensor(labels)
    else:
        if task != TAGS:
            centre, spread = labels.mean(axis=0), labels.std(axis=0)
            spread = np.where(spread > _LEAST_SPREAD, spread, 1.0)
        wanted = torch.as_tensor((labels - centre) / spread, dtype=torch.float32)
    scale = (torch.as_tensor(part, dtype=torch.float32, device=device) for part in (centre, spread))
    return Targets(task, wanted.to(device), *scale)


def goodness(task: str, outputs: np.ndarray, labels: np.ndarray) -> float:
    """By which settings are compared, more is better: accuracy, or the negative of a mean loss.

    Args:
        task: what the labels are.
        outputs: (q, t) of a last layer.
        labels: (q,) classes, or (q, t).

    Returns:
        Minus infinity where outputs are not finite.
    """
    if not np.isfinite(outputs).all():
        return -np.inf
    if task == CLASSES:
        return float((outputs.argmax(axis=1) == labels).mean())
    if task == TAGS:
        return -float(np.logaddexp(0, np.where(labels, -outputs, outputs)).mean())
    spread = labels.std(axis=0)
    apart = (outputs - labels) / np.where(spread > _LEAST_SPREAD, spread, 1.0)
    return -float((apart**2).mean())


def measures_of(name: str, outputs: np.ndarray, exam: Exam) -> Measures:
    """What :func:`scored` makes of (q, t) outputs for the judging pictures."""
    if exam.task == TAGS:
        from scipy.special import expit

        outputs = expit(outputs)
    return scored(name, exam.task, outputs, exam.judge_labels, exam.seed, exam.judge.groups)
