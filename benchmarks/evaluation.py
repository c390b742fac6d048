"""k-NN evaluation: ours beside lightly's and scikit-learn's, on the same features.

    python benchmarks/evaluation.py --bank 50000 --queries 10000 --size 256

Features are drawn around a centre for each of ten classes, so that neighbours disagree now and then
as they do in practice. All three weigh the votes of the k nearest by exp(cosine / temperature).
lightly gives back the order of the classes and not their scores; so scores are compared
with scikit-learn, which gives probabilities, and guesses with both.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import alternate, arguments, header, report, save
from lightly.utils.benchmarking.knn import knn_predict as lightly_predict
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import normalize

from BYOL.evaluation.protocols.knn import knn_predict

CLASSES = 10
TEMPERATURE = 0.1
BLOCK = 256  # queries at a time: lightly takes a batch, as its benchmark module hands it over


def main() -> None:
    given = arguments(__doc__, bank=50_000, queries=10_000, size=256, k=200, rounds=3)
    line = header("lightly", "scikit-learn")
    centres = torch.randn(CLASSES, given.size)
    labels, truth = (torch.randint(CLASSES, (n,)) for n in (given.bank, given.queries))
    bank, queries = (centres[y] + 4 * torch.randn(len(y), given.size) for y in (labels, truth))
    known, asked = normalize(bank), normalize(queries)
    peer = KNeighborsClassifier(
        given.k,
        algorithm="brute",
        metric="cosine",
        weights=lambda distance: np.exp((1 - distance) / TEMPERATURE),
        n_jobs=given.threads,
    ).fit(bank.numpy(), labels.numpy())
    kept: dict[str, Any] = {}

    def ours() -> None:
        scores = knn_predict(bank, labels, queries, k=given.k, temperature=TEMPERATURE)
        kept["BYOL"] = scores.numpy()

    def lightly() -> None:
        orders = [
            lightly_predict(part, known.T, labels, CLASSES, knn_k=given.k, knn_t=TEMPERATURE)
            for part in asked.split(BLOCK)
        ]
        kept["lightly"] = torch.cat(orders)[:, 0].numpy()

    def scikit() -> None:
        kept["scikit-learn"] = peer.predict_proba(queries.numpy())

    def counted(work: Callable[[], None]) -> Callable[[], int]:
        def once() -> int:
            work()
            return given.queries

        return once

    rates = alternate(
        {"BYOL": counted(ours), "lightly": counted(lightly), "scikit-learn": counted(scikit)},
        given.rounds,
    )
    title = (
        f"k-NN, k = {given.k}: {given.queries:,} queries, {given.bank:,} × {given.size} in the bank"
    )
    found = report(title, rates)
    guess = kept["BYOL"].argmax(axis=1)
    apart = float(np.abs(kept["BYOL"] - kept["scikit-learn"]).max())
    same = {
        "lightly": float((guess == kept["lightly"]).mean()),
        "scikit-learn": float((guess == kept["scikit-learn"].argmax(axis=1)).mean()),
    }
    print(f"  largest difference of a score from scikit-learn's: {apart:.1e}")
    for name, share in same.items():
        print(f"  the same guess as {name}: {share:.4%} of the queries")
    save(given.json, machine=line, **found, largest_difference=apart, same_guess=same)


if __name__ == "__main__":
    main()
