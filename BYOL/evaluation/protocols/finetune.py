"""Fine-tuning: the whole network learns from a share of the labels (paper, appendix C.2).

SGD with Nesterov momentum 0.9, no weight decay, a cosine, random crops and flips, batch-norm
statistics of the batch. The learning rate is chosen on a validation split of the share itself.
Beyond the paper, labels may be tags or values: see :mod:`BYOL.evaluation.targets`.

The paper trains for 30 or 50 epochs. On a CPU a training that would see more than :data:`SEEN`
pictures gets fewer epochs; the measures say how many.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from BYOL.config.tasks import Measures
from BYOL.data.dataset import Images
from BYOL.evaluation.augmented_batches import augmented_batches
from BYOL.evaluation.features import extract_features
from BYOL.evaluation.splits import HELD_OUT, as_classes, balanced_share, choosing
from BYOL.evaluation.targets import goodness, measures_of, targets_of
from BYOL.evaluation.types import FEATURES_AT_A_TIME, Exam, Outcome, Subject
from BYOL.model.backbones import feature_size, pool

RATES = (0.01, 0.05, 0.1)  # of the paper's 0.005 … 0.1
RATE = 0.05  # where there are too few labels to choose
CHOSEN_ON = 5_000  # labels that choose the rate; the final training takes all
EPOCHS = 50
SEEN = 100_000  # pictures, epochs counted, that a training on a CPU sees
TRIED = 20_000  # the same of a training that only tries a rate
LEAST_EPOCHS = 3
BATCH = 256
LEAST_STEPS = 4  # of an epoch: small sets have smaller batches
MOMENTUM = 0.9


class Classifier(nn.Module):
    """A backbone and a fresh linear layer, from zero.

    Args:
        backbone: copied, so that the caller's never changes.
        features: numbers that it puts out.
        classes: numbers that the layer puts out.
    """

    def __init__(self, backbone: nn.Module, features: int, classes: int):
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(True)
        self.head = nn.Linear(features, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, classes)."""
        return self.head(pool(self.backbone(x)).float())


def finetune(subject: Subject) -> Outcome:
    """Measures after fine-tuning with every share of the labels; nothing for raw pixels."""
    if not any(True for _ in subject.backbone.parameters()):
        return Outcome({})
    exam = subject.exam
    measures: Measures = {}
    rates: dict[float, float] = {}  # by the share that they were chosen on
    for share in sorted(exam.shares):
        learn, tried = _part(exam, share), min(share, CHOSEN_ON / len(exam.learn))
        if tried not in rates:
            rates[tried] = _choose_rate(subject, _part(exam, tried))
        rate, epochs = rates[tried], _epochs(exam, len(learn), SEEN)
        outputs = _outputs(_trained(subject, learn, rate, epochs), subject, exam.judge)
        how = {"labels": len(learn), "learning_rate": rate, "epochs": epochs}
        found = measures_of(f"finetune {100 * share:g}%", outputs, exam)
        measures |= {name: {**measure, **how} for name, measure in found.items()}
    return Outcome(measures)


@dataclass(frozen=True, eq=False)
class Finetuned:
    """A network that labels have trained.

    Args:
        network: on the CPU, in evaluation mode.
        measures: of one that was trained in the same way, on pictures that have not trained it.
        learning_rate: that was chosen.
        epochs: of the training.
    """

    network: Classifier
    measures: Measures
    learning_rate: float
    epochs: int


def finetuned(subject: Subject, all_: Images) -> Finetuned:
    """Train with the labels of ``all_``, once what ``exam.learn`` teaches has been judged.

    Where these are the same, a test set judges, and the network is not trained twice.
    """
    exam = subject.exam
    rate = _choose_rate(subject, _part(exam, min(1.0, CHOSEN_ON / len(exam.learn))))
    network = _trained(subject, exam.learn, rate, _epochs(exam, len(exam.learn), SEEN))
    measures = measures_of("", _outputs(network, subject, exam.judge), exam)
    epochs = _epochs(exam, len(all_), SEEN)
    if all_ is not exam.learn:
        network = _trained(subject, all_, rate, epochs)
    network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return Finetuned(network, measures, rate, epochs)


def finetune_steps(exam: Exam) -> int:
    """Pictures that all of the trainings see together, a picture counted every epoch."""
    total, chosen = 0, set()
    for share in exam.shares:
        labels, tried = share * len(exam.learn), min(share * len(exam.learn), CHOSEN_ON)
        total += round(labels * _epochs(exam, round(labels), SEEN))
        if tried not in chosen:
            chosen.add(tried)
            fit = round(tried * (1 - HELD_OUT))
            total += len(RATES) * fit * _epochs(exam, fit, TRIED)
    return total


def _epochs(exam: Exam, n: int, seen: int) -> int:
    """Of a training with n labels."""
    if exam.epochs or exam.device.type != "cpu":
        return exam.epochs or EPOCHS
    return max(min(EPOCHS, seen // max(n, 1)), LEAST_EPOCHS)


def _part(exam: Exam, share: float) -> Images:
    chosen = balanced_share(as_classes(exam.learn_labels), share, exam.seed)
    return exam.learn if len(chosen) == len(exam.learn) else exam.learn.subset(chosen)


def _choose_rate(subject: Subject, learn: Images) -> float:
    """The best rate on a fifth of the labels, trained on the others."""
    exam = subject.exam
    assert learn.labels is not None
    if np.unique(as_classes(learn.labels), return_counts=True)[1].min() < 2:
        return RATE
    held = choosing(learn.labels, exam.seed, learn.groups)
    if not held.any() or held.sum() > len(held) - 2:
        return RATE
    fit, validation = (learn.subset(np.flatnonzero(part)) for part in (~held, held))
    epochs = _epochs(exam, len(fit), TRIED)
    scores = []
    for rate in RATES:
        outputs = _outputs(_trained(subject, fit, rate, epochs), subject, validation)
        assert validation.labels is not None
        scores.append(goodness(exam.task, outputs, validation.labels))
    return RATES[int(np.argmax(scores))]


def _outputs(classifier: nn.Module, subject: Subject, images: Images) -> np.ndarray:
    """(n, t) of the last layer."""
    exam = subject.exam
    settings = {"batch_size": FEATURES_AT_A_TIME, "workers": exam.workers}
    return extract_features(classifier, images, subject.sight, device=exam.device, **settings)[1]


def _trained(subject: Subject, learn: Images, rate: float, epochs: int) -> Classifier:
    exam, n = subject.exam, len(learn)
    width = feature_size(subject.backbone, learn.channels, subject.sight.size)
    assert width is not None
    classifier = Classifier(subject.backbone, width, exam.class_count)
    classifier.to(exam.device).train()
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch_size = min(exam.batch_size or BATCH, max(n // LEAST_STEPS, 2), n)
    optimizer = torch.optim.SGD(classifier.parameters(), rate, momentum=MOMENTUM, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (n // batch_size))
    assert learn.labels is not None
    targets = targets_of(learn.labels, exam.task, exam.class_count, exam.device)
    batches = augmented_batches(
        learn, exam, subject.sight, epochs=epochs, batch_size=batch_size,
        doing=f"fine-tuning, {subject.name}, {n:,} labels",
    )  # fmt: skip
    for ids, pixels in batches:
        loss = targets.loss(classifier(pixels), ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    targets.unscale(classifier.head)
    return classifier.eval()
