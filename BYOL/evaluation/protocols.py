"""All measurements side by side: raw pixels, the untrained backbone, the trained one."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from BYOL.data.images import Images
from BYOL.errors import UserError
from BYOL.evaluation.features import extract_features, pixel_features
from BYOL.evaluation.fewshot import fewshot_accuracy
from BYOL.evaluation.knn import neighbours, votes
from BYOL.evaluation.linear import linear_probe
from BYOL.views.config import Sight

HELD_OUT = 0.2  # of labelled pictures that come without a test set
RESAMPLES = 10_000
Measures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Judged:
    """Features with known classes: a bank to learn from and queries to be judged by."""

    bank: np.ndarray
    bank_labels: np.ndarray
    queries: np.ndarray
    query_labels: np.ndarray


def evaluate(
    backbone: nn.Module,
    untrained: nn.Module,
    train: Images,
    test: Images | None,
    sight: Sight,
    *,
    device: torch.device,
    batch_size: int = 256,
    workers: int = 0,
    protocols: tuple[str, ...] = ("fewshot", "knn", "linear"),
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a backbone beside two references.

    Args:
        backbone: the trained one.
        untrained: the same at its start.
        train: labelled pictures that the measurements learn from.
        test: labelled pictures that judge; without them a fifth of ``train`` is held out (from the
            measurements; pretraining may have seen it, without its labels).
        sight: how the backbones are shown pictures, as in training.
        device: where the backbones run.
        batch_size: pictures at a time.
        workers: processes that decode files.
        protocols: of :data:`PROTOCOLS`.
        seed: of draws and splits.

    Returns:
        ``pictures`` (how many learn and judge), ``classes``, and ``rows``: for raw pixels,
        untrained and trained the measures by name, each with its ``accuracy`` and an interval.

    Raises:
        UserError: no labels, fewer than two classes, or an unknown protocol.
    """
    check_protocols(protocols)
    for images in (train, test):
        if images is not None and images.labels is None:
            raise UserError(
                f"{images.name} has no labels: put its pictures into a folder for each class"
            )
    settings: dict[str, Any] = {"device": device, "batch_size": batch_size, "workers": workers}
    sources: dict[str, Callable[[Images], tuple[np.ndarray, np.ndarray]]] = {
        "raw pixels": lambda images: pixel_features(images, sight.size, batch_size),
        "untrained": lambda images: extract_features(untrained, images, sight, **settings),
        "trained": lambda images: extract_features(backbone, images, sight, **settings),
    }
    rows = {}
    for name, source in sources.items():
        judged = _judged(source, train, test, seed)
        rows[name] = {k: v for p in protocols for k, v in PROTOCOLS[p](judged, seed).items()}
    return {
        "pictures": {"learn": len(judged.bank), "judge": len(judged.queries)},
        "classes": len(np.unique(judged.bank_labels)),
        "rows": rows,
    }


def check_protocols(protocols: tuple[str, ...]) -> None:
    """Raise a UserError for a protocol that there is not."""
    for name in protocols:
        if name not in PROTOCOLS:
            raise UserError(f"--protocol={name} is unknown: choose from {', '.join(PROTOCOLS)}")


def _judged(
    source: Callable[[Images], tuple[np.ndarray, np.ndarray]],
    train: Images,
    test: Images | None,
    seed: int,
) -> Judged:
    ids, bank = source(train)
    assert train.labels is not None
    bank_labels = train.labels[ids]
    if test is not None:
        assert test.labels is not None
        ids, queries = source(test)
        query_labels = test.labels[ids]
    else:
        held = held_out(bank_labels, seed)
        bank, queries = bank[~held], bank[held]
        bank_labels, query_labels = bank_labels[~held], bank_labels[held]
    if len(np.unique(bank_labels)) < 2:
        raise UserError(f"{train.name} has pictures of one class only: two are needed")
    return Judged(bank, bank_labels, queries, query_labels)


def held_out(labels: np.ndarray, seed: int) -> np.ndarray:
    """A fifth of every class, drawn by the seed, but never its last sample: (n,) bool."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for c in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == c))
        held[members[: max(round(len(members) * HELD_OUT), min(1, len(members) - 1))]] = True
    if not held.any():
        raise UserError("no class has two pictures: there is nothing to judge by")
    return held


def _fewshot(judged: Judged, seed: int) -> Measures:
    measures = {}
    fewest = int(np.unique(judged.bank_labels, return_counts=True)[1].min())
    for shots in (1, 5):
        if shots > fewest:
            continue
        accuracies = fewshot_accuracy(
            judged.bank, judged.bank_labels, judged.queries, judged.query_labels,
            shots=shots, seed=seed,
        )  # fmt: skip
        measures[f"{shots}-shot"] = {
            "accuracy": float(accuracies.mean()),
            "spread": float(accuracies.std(ddof=1)),  # from draw to draw
        }
    return measures


def _knn(judged: Judged, seed: int) -> Measures:
    similarities, indices = neighbours(judged.bank, judged.queries, 200)
    measures = {}
    for k in (20, 200):
        scores = votes(similarities[:, :k], indices[:, :k], judged.bank_labels)
        guess = scores.argmax(dim=1).cpu().numpy()
        measures[f"knn{k}"] = _with_interval(guess == judged.query_labels, seed)
    return measures


def _linear(judged: Judged, seed: int) -> Measures:
    probe = linear_probe(judged.bank, judged.bank_labels, judged.queries, seed=seed)
    measure = _with_interval(probe.predictions == judged.query_labels, seed)
    return {"linear": {**measure, "C": probe.strength}}


PROTOCOLS: dict[str, Callable[[Judged, int], Measures]] = {
    "fewshot": _fewshot,
    "knn": _knn,
    "linear": _linear,
}


def _with_interval(correct: np.ndarray, seed: int) -> dict[str, float]:
    """Accuracy and its 95 % bootstrap interval over the judging pictures.

    Resampling n outcomes of which a share p is right draws from a binomial, so no outcome need be
    touched again.
    """
    n, accuracy = len(correct), float(correct.mean())
    resampled = np.random.default_rng(seed).binomial(n, accuracy, RESAMPLES) / n
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {"accuracy": accuracy, "low": float(low), "high": float(high)}


def results_text(results: dict[str, Any]) -> str:
    """The rows of :func:`evaluate` as a table for a terminal."""
    from rich.console import Console
    from rich.table import Table

    rows: dict[str, Measures] = results["rows"]
    columns = list(next(iter(rows.values())))
    table = Table()
    table.add_column("accuracy")
    for column in columns:
        table.add_column(column, justify="right")
    for name, measures in rows.items():
        cells = (f"{m['accuracy']:.3f} ±{_half_width(m):.3f}" for m in measures.values())
        table.add_row(name, *cells, style="bold" if name == "trained" else "")
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    pictures = results["pictures"]
    note = (
        f"{pictures['judge']:,} held-out pictures of {results['classes']} classes, "
        f"labels of {pictures['learn']:,}. n-shot: 1-NN with n labels per class (± from draw to "
        "draw); others ± half a 95 % interval."
    )
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue() + note


def _half_width(measure: dict[str, float]) -> float:
    return measure.get("spread", (measure.get("high", 0.0) - measure.get("low", 0.0)) / 2)
