"""k-NN evaluation: BYOL compared with lightly and scikit-learn on the same features.

    python benchmarks/evaluation.py --bank 50000 --queries 10000 --size 256

Features are drawn around one centre per class, so that neighbours sometimes disagree, as they do in
practice. All three weight the votes of the k nearest by exp(cosine / temperature). lightly returns
the order of the classes and not their scores. So scores are compared with scikit-learn, which
returns probabilities, and predictions with both.
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
BLOCK = 256  # queries per call: lightly expects a batch, as its benchmark module passes it


def main() -> None:
    args = arguments(__doc__, bank=50_000, queries=10_000, size=256, k=200, rounds=3)
    line = header("lightly", "scikit-learn")
    centres = torch.randn(CLASSES, args.size)
    labels, truth = (torch.randint(CLASSES, (n,)) for n in (args.bank, args.queries))
    bank, queries = (centres[y] + 4 * torch.randn(len(y), args.size) for y in (labels, truth))
    unit_bank, unit_queries = normalize(bank), normalize(queries)
    peer = KNeighborsClassifier(
        args.k,
        algorithm="brute",
        metric="cosine",
        weights=lambda distance: np.exp((1 - distance) / TEMPERATURE),
        n_jobs=args.threads,
    ).fit(bank.numpy(), labels.numpy())
    kept: dict[str, Any] = {}

    def ours() -> None:
        scores = knn_predict(bank, labels, queries, k=args.k, temperature=TEMPERATURE)
        kept["BYOL"] = scores.numpy()

    def lightly() -> None:
        orders = [
            lightly_predict(part, unit_bank.T, labels, CLASSES, knn_k=args.k, knn_t=TEMPERATURE)
            for part in unit_queries.split(BLOCK)
        ]
        kept["lightly"] = torch.cat(orders)[:, 0].numpy()

    def scikit() -> None:
        kept["scikit-learn"] = peer.predict_proba(queries.numpy())

    def counted(work: Callable[[], None]) -> Callable[[], int]:
        def once() -> int:
            work()
            return args.queries

        return once

    rates = alternate(
        {"BYOL": counted(ours), "lightly": counted(lightly), "scikit-learn": counted(scikit)},
        args.rounds,
    )
    title = f"k-NN, k = {args.k}: {args.queries:,} queries, {args.bank:,} × {args.size} in the bank"
    figures = report(title, rates)
    predicted = kept["BYOL"].argmax(axis=1)
    apart = float(np.abs(kept["BYOL"] - kept["scikit-learn"]).max())
    same = {
        "lightly": float((predicted == kept["lightly"]).mean()),
        "scikit-learn": float((predicted == kept["scikit-learn"].argmax(axis=1)).mean()),
    }
    print(f"  largest difference of a score from scikit-learn's: {apart:.1e}")
    for name, share in same.items():
        print(f"  same prediction as {name}: {share:.4%} of the queries")
    save(args.json, machine=line, **figures, largest_difference=apart, same_prediction=same)


if __name__ == "__main__":
    main()
