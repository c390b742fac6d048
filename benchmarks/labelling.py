"""What a few labels are worth, of pictures chosen by ``byol select`` and of ones drawn by lot.

    python benchmarks/labelling.py --run runs/cifar --data cifar/ --budgets 10,30,100,300 --seeds 5

``cifar/`` has ``train/`` and ``test/`` with class folders. For every budget as many pictures of
train/ are chosen and get their labels; the probe of ``byol predict`` and 1-NN learn from these
and judge the whole of test/. ``typical`` takes of each cluster the picture of the densest place
instead of the one nearest to the centre (TypiClust), ``farthest`` the one farthest from those
chosen before (the greedy core-set).
"""

from collections.abc import Callable

import numpy as np
import torch
from common import arguments, header

from BYOL.config.commands import FeaturesConfig
from BYOL.curation.run_features import open_features
from BYOL.curation.selection import select_representatives, standardized_directions
from BYOL.evaluation.cross_val_predict import LabelledFeatures, fit_probe
from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.evaluation.protocols.cluster import kmeans
from BYOL.evaluation.protocols.knn import knn_accuracy

Choose = Callable[[np.ndarray, int, int], np.ndarray]


def by_lot(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(features), count, replace=False)


def selected(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    all_ = np.ones(len(features), dtype=bool)
    return select_representatives(features, count, seed, allowed=all_, labelled=~all_).positions


def typical(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    vectors, k = standardized_directions(features), min(count, 500)
    cluster, given = kmeans(vectors, k, seed), []
    for c in np.argsort(-np.bincount(cluster, minlength=k)):
        members = np.flatnonzero(cluster == c)
        near, _ = nearest_neighbours(vectors[members], vectors[members], min(21, len(members)))
        given.append(members[np.argsort(-near[:, 1:].mean(dim=1).numpy(), kind="stable")])
    turns = (m[turn] for turn in range(len(features)) for m in given if turn < len(m))
    return np.array([next(turns) for _ in range(count)])


def farthest(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    vectors = torch.from_numpy(standardized_directions(features))
    chosen = [int(np.random.default_rng(seed).integers(len(vectors)))]
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, vectors @ vectors[chosen[-1]])
    return np.array(chosen)


WAYS: dict[str, Choose] = {
    "by lot": by_lot, "byol select": selected, "typical": typical, "farthest": farthest,
}  # fmt: skip


def main() -> None:
    given = arguments(
        __doc__, run="runs/cifar", data="cifar/", budgets="10,30,100,300", seeds=5, ways=""
    )
    header()
    features = open_features(FeaturesConfig(given.run, given.data))
    (bank, labels), (queries, truth) = (
        (features.of(part)[1], part.labels)
        for part in (features.splits.train, features.splits.test)
    )
    classes = int(labels.max()) + 1
    print(f"{'budget':>6} {'pictures chosen':16} {'1-NN':>14} {'linear':>14}  classes seen")
    for budget in map(int, given.budgets.split(",")):
        for name in given.ways.split(",") if given.ways else WAYS:
            found = []
            for seed in range(given.seeds):
                at = WAYS[name](bank, budget, seed)
                nearest = knn_accuracy(bank[at], labels[at], queries, truth, k=1)
                known = LabelledFeatures(bank[at], labels[at], "classification", classes)
                right = (fit_probe(known, seed)(queries).argmax(axis=1) == truth).mean()
                found.append((nearest, right, len(np.unique(labels[at]))))
            mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
            cells = [f"{m:.3f} ±{s:.3f}" for m, s in zip(mean[:2], spread[:2], strict=True)]
            print(f"{budget:6} {name:16} {cells[0]:>14} {cells[1]:>14}  {mean[2]:.1f}", flush=True)


if __name__ == "__main__":
    main()
