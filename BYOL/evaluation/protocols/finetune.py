"""Fine-tuning: the whole network is trained on a share of the labels (paper, appendix C.2).

SGD with Nesterov momentum 0.9, no weight decay, a cosine schedule, random crops and flips, and
batch-norm statistics of the batch. The learning rate is chosen on a validation split of the share
itself. Beyond the paper, labels may be tags or values: see :mod:`BYOL.evaluation.targets`.

The paper trains for 30 or 50 epochs. On a CPU a training of more than :data:`MAX_IMAGES_CPU`
images, epochs counted, gets fewer epochs; the measures report the number.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from BYOL._random import fold, generators_kept, seed_generators
from BYOL.config.tasks import Measures
from BYOL.data.dataset import Images
from BYOL.evaluation.augmented_batches import augmented_batches
from BYOL.evaluation.features import extract_features
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.splits import HELD_OUT, balanced_share, validation_mask
from BYOL.evaluation.targets import as_predictions, build_targets, output_measures, selection_score
from BYOL.evaluation.types import FEATURE_BATCH_SIZE, EvaluationData, FeatureSource, Outcome
from BYOL.model.feature_size import feature_size, pool

LEARNING_RATES = (0.01, 0.05, 0.1)  # the paper: 0.005 … 0.1
DEFAULT_LR = 0.05  # if there are too few labels to choose
SELECTION_SAMPLES = 5_000  # labels that choose the learning rate; the final training uses all
EPOCHS = 50
MAX_IMAGES_CPU = 100_000  # images of a training on a CPU, epochs counted
MAX_IMAGES_SELECTION = 20_000  # the same for a training that only tests a learning rate
MIN_EPOCHS = 3
BATCH = 256
MIN_STEPS = 4  # per epoch; small sets have smaller batches
MOMENTUM = 0.9


class Classifier(nn.Module):
    """A backbone and a new linear layer, which starts from zero.

    Args:
        backbone: the backbone; it is copied.
        features: number of features of the backbone.
        classes: number of outputs of the layer.
    """

    def __init__(self, backbone: nn.Module, features: int, classes: int):
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_(True)
        self.head = nn.Linear(features, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, classes)."""
        return self.head(pool(self.backbone(x)).float())


def finetune(source: FeatureSource) -> Outcome:
    """Return measures after fine-tuning with every share of the labels; nothing for raw pixels."""
    if not any(True for _ in source.backbone.parameters()):
        return Outcome({})
    data = source.data
    measures: Measures = {}
    learning_rates: dict[float, float] = {}  # by the share that chose them
    for share in sorted(data.shares):
        train, choosing_share = _part(data, share), min(share, SELECTION_SAMPLES / len(data.train))
        if choosing_share not in learning_rates:
            part = _part(data, choosing_share)
            learning_rates[choosing_share] = _choose_learning_rate(source, part)
        lr, epochs = learning_rates[choosing_share], _epochs(data, len(train), MAX_IMAGES_CPU)
        outputs = _outputs(_trained(source, train, lr, epochs), source, data.test)
        settings = {"labels": len(train), "learning_rate": lr, "epochs": epochs}
        share_measures = output_measures(f"finetune {100 * share:g}%", outputs, data)
        measures |= {name: {**m, **settings} for name, m in share_measures.items()}
    return Outcome(measures)


@dataclass(frozen=True, eq=False)
class FinetunedNetwork:
    """A fine-tuned network.

    Args:
        network: the network, on the CPU, in evaluation mode.
        predictions: (q, t) predictions for the test images, of a network trained in the same way
            without them.
        learning_rate: the chosen learning rate.
        epochs: number of epochs.
    """

    network: Classifier
    predictions: np.ndarray
    learning_rate: float
    epochs: int


def finetune_on_all_labels(source: FeatureSource, all_: Images) -> FinetunedNetwork:
    """Train with the labels of ``all_``, after a network trained on ``data.train`` is evaluated.

    If both are the same images, there is a separate test set, and the network is trained once.
    """
    data = source.data
    lr = _choose_learning_rate(source, _part(data, min(1.0, SELECTION_SAMPLES / len(data.train))))
    network = _trained(source, data.train, lr, _epochs(data, len(data.train), MAX_IMAGES_CPU))
    predictions = as_predictions(data.task, _outputs(network, source, data.test))
    epochs = _epochs(data, len(all_), MAX_IMAGES_CPU)
    if all_ is not data.train:
        network = _trained(source, all_, lr, epochs)
    network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return FinetunedNetwork(network, predictions, lr, epochs)


def count_finetune_images(data: EvaluationData) -> int:
    """Return the number of images in all trainings together, each counted once per epoch."""
    total, counted = 0, set()
    for share in data.shares:
        labels, choosing_labels = (
            share * len(data.train),
            min(share * len(data.train), SELECTION_SAMPLES),
        )
        total += round(labels * _epochs(data, round(labels), MAX_IMAGES_CPU))
        if choosing_labels not in counted:
            counted.add(choosing_labels)
            fit = round(choosing_labels * (1 - HELD_OUT))
            total += len(LEARNING_RATES) * fit * _epochs(data, fit, MAX_IMAGES_SELECTION)
    return total


def _epochs(data: EvaluationData, n: int, limit: int) -> int:
    """Return the number of epochs of a training with ``n`` labels."""
    if data.epochs or data.device.type != "cpu":
        return data.epochs or EPOCHS
    return max(min(EPOCHS, limit // max(n, 1)), MIN_EPOCHS)


def _part(data: EvaluationData, share: float) -> Images:
    chosen = balanced_share(data.train_set, share, data.seed)
    return data.train if len(chosen) == len(data.train) else data.train.subset(chosen)


def _choose_learning_rate(source: FeatureSource, train: Images) -> float:
    """Return the learning rate with the best score on a fifth of the labels of ``train``."""
    data, known = source.data, LabelledSet.of(train)
    if known.class_counts()[1].min() < 2:
        return DEFAULT_LR
    held = validation_mask(known, data.seed)
    if not held.any() or held.sum() > len(held) - 2:
        return DEFAULT_LR
    fit, validation = (train.subset(np.flatnonzero(part)) for part in (~held, held))
    epochs = _epochs(data, len(fit), MAX_IMAGES_SELECTION)
    scores = []
    for lr in LEARNING_RATES:
        outputs = _outputs(_trained(source, fit, lr, epochs), source, validation)
        scores.append(selection_score(outputs, LabelledSet.of(validation)))
    return LEARNING_RATES[int(np.argmax(scores))]


def _outputs(classifier: nn.Module, source: FeatureSource, images: Images) -> np.ndarray:
    """Return the (n, t) outputs of the last layer for ``images``."""
    data = source.data
    settings = {"batch_size": FEATURE_BATCH_SIZE, "workers": data.workers}
    features = extract_features(
        classifier, images, source.input_spec, device=data.device, **settings
    )
    return features[1]


def _trained(source: FeatureSource, train: Images, lr: float, epochs: int) -> Classifier:
    data, n = source.data, len(train)
    width = feature_size(source.backbone, train.channels, source.input_spec.size)
    assert width is not None
    classifier = Classifier(source.backbone, width, data.class_count)
    classifier.to(data.device).train()
    classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch_size = min(data.batch_size or BATCH, max(n // MIN_STEPS, 2), n)
    optimizer = torch.optim.SGD(classifier.parameters(), lr, momentum=MOMENTUM, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (n // batch_size))
    targets = build_targets(LabelledSet.of(train), data.class_count, data.device)
    batches = augmented_batches(
        train, data, source.input_spec, epochs=epochs, batch_size=batch_size,
        doing=f"fine-tuning, {source.name}, {n:,} labels",
    )  # fmt: skip
    with generators_kept(data.device):
        seed_generators(fold(data.seed), data.device)  # for dropout
        for ids, pixels in batches:
            loss = targets.loss(classifier(pixels), ids)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    targets.unscale(classifier.head)
    return classifier.eval()
