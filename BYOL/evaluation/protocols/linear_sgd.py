"""The paper's linear evaluation (appendix C.1): SGD on frozen features of random crops and flips.

Eighty epochs of SGD with Nesterov momentum 0.9, batches of 1,024 and no regularisation, with a
cosine schedule from each of five learning rates. A validation split of the training images chooses
the learning rate. Because the backbone is frozen, all learning rates are trained at once on the
same features. Each is trained twice: without the validation images, to choose, and with them, for
the test.

Two things go beyond the paper. Features are standardised by fixed numbers, which makes the
comparison fair for sources of another scale (raw pixels, an untrained backbone). Principal
components share one scale already and keep it. Two smaller learning rates are added to the paper's
five, which were chosen for a thousand classes.

On a CPU the frozen backbone would take nearly all of the time. There it computes the features of
only :data:`CROPS` random crops of every image; they are kept, and the epochs use them in turn.
Stored features have no crops: every epoch reads the same features, batch by batch, so that memory
does not grow with their number.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from BYOL._console import Progress
from BYOL.data.sampler import EpochSampler
from BYOL.evaluation.augmented_batches import augmented_batches, labels_tensor
from BYOL.evaluation.metrics import score_predictions
from BYOL.evaluation.types import EvaluationData, FeatureSource, Outcome
from BYOL.model.feature_size import pool

PAPER_LEARNING_RATES = (0.4, 0.3, 0.2, 0.1, 0.05)
LEARNING_RATES = (*PAPER_LEARNING_RATES, 0.01, 0.002)
DEFAULT_LR = 0.1  # if groups leave no validation images
EPOCHS = 80
BATCH = 1024
CROPS = 5  # per image, on a CPU
KEPT_BYTES = 1 << 30  # of features of crops; for larger sets every epoch computes new ones
MIN_STEPS = 10  # per epoch; small sets have smaller batches
MOMENTUM = 0.9
_BLOCK = 8192  # stored features in memory at a time


def linear_sgd(source: FeatureSource) -> Outcome:
    """Return the measures of the linear layer that is trained as in the paper.

    The chosen learning rate and the number of crops are added to each measure.
    """
    data = source.data
    held = data.validation_mask
    heads = _train_heads(source, held)
    bank, queries = source.probe_features
    scale = _scale(source)
    best = LEARNING_RATES.index(DEFAULT_LR)
    if held.any():
        best = int(np.argmax(_accuracies(bank, held, heads, data.train_set.labels, scale)))
    parts = (_read(queries, rows, scale) for rows in _blocks(np.arange(len(queries))))
    scores = torch.cat([part @ heads[best][1].T for part in parts]).cpu().numpy()
    measures = score_predictions("linear-sgd", scores, data.test_set, data.positive)
    settings = {
        "learning_rate": LEARNING_RATES[best],
        "crops": 1 if source.stored else crops_per_image(data, bank.shape[1]),
    }
    settings |= source.probe_details
    return Outcome({name: {**measure, **settings} for name, measure in measures.items()})


def crops_per_image(data: EvaluationData, dimensions: int) -> int:
    """Return the number of different crops per image: one per epoch, or :data:`CROPS`."""
    epochs = data.epochs or EPOCHS
    kept = CROPS * len(data.train) * dimensions * 4
    return min(CROPS, epochs) if data.device.type == "cpu" and kept <= KEPT_BYTES else epochs


def _train_heads(source: FeatureSource, held: np.ndarray) -> list[Tensor]:
    """Return (2, classes, d + 1) weights per learning rate.

    The first are trained without the validation images, the second with all. The last column is the
    bias.
    """
    data, n = source.data, len(source.data.train)
    batch_size = min(data.batch_size or BATCH, max(n // MIN_STEPS, 1))
    epochs, bank = data.epochs or EPOCHS, source.probe_features[0]
    shape = (2, data.class_count, bank.shape[1] + 1)
    heads = [torch.zeros(shape, device=data.device, requires_grad=True) for _ in LEARNING_RATES]
    groups = [{"params": [head], "lr": lr} for head, lr in zip(heads, LEARNING_RATES, strict=True)]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (n // batch_size))
    labels, fit = labels_tensor(data, data.train), torch.from_numpy(~held).to(data.device)
    scale = _scale(source)
    if source.stored:
        batches = _stored_batches(source, epochs, batch_size)
    else:
        crops = crops_per_image(data, bank.shape[1])
        batches = _feature_batches(source, crops, batch_size)
        if crops != epochs:
            batches = _repeated(batches, crops, epochs, data.seed)
    for ids, features in batches:
        loss = _loss(_standardise(features, scale), heads, labels[ids], fit[ids])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return [head.detach() for head in heads]


def _feature_batches(
    source: FeatureSource, epochs: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield numbers (B,) of images and features (B, d) of random crops, batch by batch."""
    data = source.data
    backbone = source.backbone.to(data.device).eval()
    batches = augmented_batches(
        data.train, data, source.input_spec, epochs=epochs, batch_size=batch_size,
        doing=f"linear-sgd, {source.name}",
    )  # fmt: skip
    for ids, pixels in batches:
        with torch.no_grad():
            features = pool(backbone(pixels)).float()
            if source.reduction:
                features = source.reduction.of_tensor(features)
        yield ids, features  # outside of no_grad, which would also apply to the consumer


def _stored_batches(
    source: FeatureSource, epochs: int, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield numbers (B,) of images and their stored features (B, d), batch by batch."""
    data, bank = source.data, source.probe_features[0]
    sampler = EpochSampler(len(bank), batch_size, seed=data.seed)
    total = epochs * len(sampler)
    with Progress(f"linear-sgd, {source.name}", total) as progress:
        for epoch in range(epochs):
            for step, request in enumerate(sampler, start=epoch * len(sampler) + 1):
                ids = request[1]
                features = torch.from_numpy(np.asarray(bank[ids], np.float32))
                yield torch.from_numpy(ids).to(data.device), features.to(data.device)
                if progress.due():
                    line = f"linear-sgd: {step:,} of {total:,} steps"
                    progress.update(step, f"epoch {epoch + 1}", line)


def _repeated(
    batches: Iterator[tuple[Tensor, Tensor]], crops: int, epochs: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ``epochs`` epochs: the ``crops`` epochs of ``batches``, then stored features.

    The stored features of an epoch are shuffled.
    """
    stored = []
    for batch in batches:
        stored.append(batch)
        yield batch
    steps, size = len(stored) // crops, len(stored[0][0])
    ids, features = (
        torch.stack(part).unflatten(0, (crops, steps)).flatten(1, 2)
        for part in zip(*stored, strict=True)
    )
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(crops, epochs):
        crop = epoch % crops
        order = torch.randperm(steps * size, generator=generator)
        for chosen in order.split(size):
            yield ids[crop, chosen], features[crop, chosen]


def _loss(features: Tensor, heads: list[Tensor], labels: Tensor, fit: Tensor) -> Tensor:
    """Return the sum of the mean cross-entropies of all heads.

    Each head gets only its own gradient.
    """
    classes, copies = heads[0].shape[1], 2 * len(heads)
    logits = features @ torch.cat(heads).flatten(0, 1).T  # (B, heads · 2 · classes)
    errors = F.cross_entropy(
        logits.view(-1, classes), labels.repeat_interleave(copies), reduction="none"
    ).view(len(labels), len(heads), 2)
    part = fit / fit.sum().clamp_min(1)
    whole = torch.full_like(part, 1 / len(labels))
    return (errors * torch.stack([part, whole], dim=1)[:, None]).sum()


def _scale(source: FeatureSource) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of every feature.

    The deviation is 1 for constant features and for principal components.
    """
    bank, device = source.probe_features[0], source.data.device
    mean, std = _mean_and_std(bank)
    if source.reduction is not None:
        std = np.ones_like(std)
    std = np.where(std > 1e-6 * max(float(std.max()), 1e-30), std, 1)
    return torch.from_numpy(mean).to(device), torch.from_numpy(std.astype(np.float32)).to(device)


def _mean_and_std(bank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (d,) float32 of ``bank`` (n, d), which is read twice."""
    n, d = bank.shape
    mean, squares = np.zeros(d), np.zeros(d)
    for rows in _blocks(np.arange(n)):
        mean += bank[rows].sum(axis=0, dtype=np.float64) / n
    for rows in _blocks(np.arange(n)):
        squares += ((bank[rows] - mean) ** 2).sum(axis=0)
    return mean.astype(np.float32), np.sqrt(squares / n).astype(np.float32)


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))


def _read(features: np.ndarray, rows: np.ndarray, scale: tuple[Tensor, Tensor]) -> Tensor:
    """Return standardised ``features`` at ``rows``, as :func:`_standardise` does."""
    some = torch.from_numpy(np.asarray(features[rows], np.float32))
    return _standardise(some.to(scale[0].device), scale)


def _standardise(features: Tensor, scale: tuple[Tensor, Tensor]) -> Tensor:
    """Map (B, d) features to (B, d + 1), the last column 1."""
    return F.pad((features - scale[0]) / scale[1], (0, 1), value=1.0)


def _accuracies(
    bank: np.ndarray,
    held: np.ndarray,
    heads: list[Tensor],
    labels: np.ndarray,
    scale: tuple[Tensor, Tensor],
) -> np.ndarray:
    """Return the accuracy of every head that was trained without the validation images ``held``."""
    correct = np.zeros(len(heads))
    for rows in _blocks(np.flatnonzero(held)):
        some = _read(bank, rows, scale)
        for k, head in enumerate(heads):
            predicted = (some @ head[0].T).argmax(dim=1).cpu().numpy()
            correct[k] += (predicted == labels[rows]).sum()
    return correct / held.sum()
