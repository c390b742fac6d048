"""The paper's linear evaluation (appendix C.1): SGD on frozen features of random crops and flips.

Eighty epochs of SGD with Nesterov momentum 0.9, batches of 1,024, no regularisation, a cosine from
each of five rates, of which a validation split of the training pictures chooses. Since the backbone
is frozen, all rates are trained at once on the same features, and each twice: without the
validation pictures, to choose, and with them, to be judged.

Two things go beyond the paper. Features are standardised by fixed numbers, so that sources of
another scale (raw pixels, an untrained backbone) are judged fairly; principal components share one
scale already and keep it. And two smaller rates are tried beside the paper's five, which were for a
thousand classes.

On a CPU nearly all of the time would go into the frozen backbone, so there it sees every picture in
:data:`CROPS` random crops only, whose features are kept, and the epochs take these by turns.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from BYOL.evaluation.augmented_batches import augmented_batches, labels_tensor
from BYOL.evaluation.bootstrap import accuracy_interval
from BYOL.evaluation.types import Exam, Outcome, Subject
from BYOL.model.backbones import pool

PAPER_RATES = (0.4, 0.3, 0.2, 0.1, 0.05)
RATES = (*PAPER_RATES, 0.01, 0.002)
RATE = 0.1  # where groups leave no pictures to choose by
EPOCHS = 80
BATCH = 1024
CROPS = 5  # of every picture, on a CPU
KEPT_BYTES = 1 << 30  # of features of crops; larger sets are looked at anew every epoch
LEAST_STEPS = 10  # of an epoch: small sets have smaller batches
MOMENTUM = 0.9


def linear_sgd(subject: Subject) -> Outcome:
    """Accuracy of the linear layer that is trained as in the paper, and the rate chosen."""
    exam = subject.exam
    held = exam.choosing
    heads = _train_heads(subject, held)
    bank, queries = subject.probed
    scale = _scale(subject)
    standard = [
        _standardise(torch.from_numpy(features).to(exam.device), scale)
        for features in (bank[held], queries)
    ]
    best = RATES.index(RATE)
    if held.any():
        truth = exam.learn_labels[held]
        best = int(np.argmax([_accuracy(standard[0], head[0], truth) for head in heads]))
    guess = _guess(standard[1], heads[best][1])
    measure = accuracy_interval(guess == exam.judge_labels, exam.seed, exam.judge.groups)
    how = {"learning_rate": RATES[best], "crops": crops_of(exam, bank.shape[1])}
    return Outcome({"linear-sgd": {**measure, **how, **subject.described}})


def crops_of(exam: Exam, dimensions: int) -> int:
    """Different crops that each picture is seen in: one an epoch, or :data:`CROPS`."""
    epochs = exam.epochs or EPOCHS
    kept = CROPS * len(exam.learn) * dimensions * 4
    return min(CROPS, epochs) if exam.device.type == "cpu" and kept <= KEPT_BYTES else epochs


def _train_heads(subject: Subject, held: np.ndarray) -> list[Tensor]:
    """For every rate (2, classes, d + 1) weights: without the held-out pictures, and with all.

    The last column is the bias.
    """
    exam, n = subject.exam, len(subject.exam.learn)
    batch_size = min(exam.batch_size or BATCH, max(n // LEAST_STEPS, 1))
    epochs, bank = exam.epochs or EPOCHS, subject.probed[0]
    shape = (2, exam.class_count, bank.shape[1] + 1)
    heads = [torch.zeros(shape, device=exam.device, requires_grad=True) for _ in RATES]
    groups = [{"params": [head], "lr": rate} for head, rate in zip(heads, RATES, strict=True)]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (n // batch_size))
    labels, fit = labels_tensor(exam, exam.learn), torch.from_numpy(~held).to(exam.device)
    scale = _scale(subject)
    crops = crops_of(exam, bank.shape[1])
    seen = _seen(subject, crops, batch_size)
    for ids, features in seen if crops == epochs else _by_turns(seen, crops, epochs, exam.seed):
        loss = _loss(_standardise(features, scale), heads, labels[ids], fit[ids])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return [head.detach() for head in heads]


def _seen(subject: Subject, epochs: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Numbers (B,) and features (B, d) of random crops, batch after batch."""
    exam = subject.exam
    backbone = subject.backbone.to(exam.device).eval()
    batches = augmented_batches(
        exam.learn, exam, subject.sight, epochs=epochs, batch_size=batch_size,
        doing=f"linear-sgd, {subject.name}",
    )  # fmt: skip
    for ids, pixels in batches:
        with torch.no_grad():
            features = pool(backbone(pixels)).float()
            if subject.reduction:
                features = subject.reduction.of_tensor(features)
        yield ids, features  # outside, or whoever takes it would go on without gradients


def _by_turns(
    seen: Iterator[tuple[Tensor, Tensor]], crops: int, epochs: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """``epochs`` epochs out of ``crops``: the first as they come, then the kept, drawn anew."""
    kept = []
    for batch in seen:
        kept.append(batch)
        yield batch
    steps, size = len(kept) // crops, len(kept[0][0])
    ids, features = (
        torch.stack(part).unflatten(0, (crops, steps)).flatten(1, 2)
        for part in zip(*kept, strict=True)
    )
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(crops, epochs):
        crop = epoch % crops
        order = torch.randperm(steps * size, generator=generator)
        for chosen in order.split(size):
            yield ids[crop, chosen], features[crop, chosen]


def _loss(features: Tensor, heads: list[Tensor], labels: Tensor, fit: Tensor) -> Tensor:
    """The sum of all heads' mean cross-entropies, so that each gets its own gradient alone."""
    classes, copies = heads[0].shape[1], 2 * len(heads)
    logits = features @ torch.cat(heads).flatten(0, 1).T  # (B, rates · 2 · classes)
    errors = F.cross_entropy(
        logits.view(-1, classes), labels.repeat_interleave(copies), reduction="none"
    ).view(len(labels), len(heads), 2)
    part = fit / fit.sum().clamp_min(1)
    whole = torch.full_like(part, 1 / len(labels))
    return (errors * torch.stack([part, whole], dim=1)[:, None]).sum()


def _scale(subject: Subject) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every feature; 1 where it never varies, and of components."""
    bank, device = subject.probed[0], subject.exam.device
    mean, std = bank.mean(axis=0), bank.std(axis=0)
    if subject.reduction is not None:
        std = np.ones_like(std)
    std = np.where(std > 1e-6 * max(float(std.max()), 1e-30), std, 1)
    return torch.from_numpy(mean).to(device), torch.from_numpy(std.astype(np.float32)).to(device)


def _standardise(features: Tensor, scale: tuple[Tensor, Tensor]) -> Tensor:
    """(B, d) → (B, d + 1), the last column 1."""
    return F.pad((features - scale[0]) / scale[1], (0, 1), value=1.0)


def _guess(features: Tensor, head: Tensor) -> np.ndarray:
    return (features @ head.T).argmax(dim=1).cpu().numpy()


def _accuracy(features: Tensor, head: Tensor, labels: np.ndarray) -> float:
    return float((_guess(features, head) == labels).mean())
