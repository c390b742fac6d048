"""Accuracy with few labels: images chosen by ``byol select`` compared with random images.

    python benchmarks/labelling.py --run runs/cifar --data cifar/ --budgets 10,30,100,300 --seeds 5

``cifar/`` has ``train/`` and ``test/`` with class folders. For every budget, that number of images
of train/ is chosen and labelled. The probe of ``byol predict`` and 1-NN are trained on them and
evaluated on all of test/. ``typical`` takes the image with the highest density of each cluster
instead of the one nearest to the centre (TypiClust). ``farthest`` takes the image that is farthest
from those chosen before (greedy core-set).
"""

from collections.abc import Callable

import numpy as np
import torch
from common import arguments, header

from BYOL.config.features import FeaturesConfig
from BYOL.curation.run_features import open_features
from BYOL.curation.selection import select_representatives, standardized_directions
from BYOL.evaluation.cross_val_predict import fit_probe
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.evaluation.protocols.cluster import kmeans
from BYOL.evaluation.protocols.knn import knn_accuracy

Choose = Callable[[np.ndarray, int, int], np.ndarray]


def at_random(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(features), count, replace=False)


def selected(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    all_ = np.ones(len(features), dtype=bool)
    return select_representatives(features, count, seed, allowed=all_, labelled=~all_).positions


def typical(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    vectors, k = standardized_directions(features), min(count, 500)
    cluster, ordered = kmeans(vectors, k, seed), []
    for c in np.argsort(-np.bincount(cluster, minlength=k)):
        members = np.flatnonzero(cluster == c)
        near, _ = nearest_neighbours(vectors[members], vectors[members], min(21, len(members)))
        ordered.append(members[np.argsort(-near[:, 1:].mean(dim=1).numpy(), kind="stable")])
    turns = (m[turn] for turn in range(len(features)) for m in ordered if turn < len(m))
    return np.array([next(turns) for _ in range(count)])


def farthest(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    vectors = torch.from_numpy(standardized_directions(features))
    chosen = [int(np.random.default_rng(seed).integers(len(vectors)))]
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, vectors @ vectors[chosen[-1]])
    return np.array(chosen)


METHODS: dict[str, Choose] = {
    "at random": at_random, "byol select": selected, "typical": typical, "farthest": farthest,
}  # fmt: skip


def main() -> None:
    args = arguments(
        __doc__, run="runs/cifar", data="cifar/", budgets="10,30,100,300", seeds=5, methods=""
    )
    header()
    features = open_features(FeaturesConfig(args.run, args.data))
    (bank, labels), (queries, truth) = (
        (features.of(part)[1], part.labels)
        for part in (features.splits.train, features.splits.test)
    )
    names = tuple(map(str, range(int(labels.max()) + 1)))
    print(f"{'budget':>6} {'images chosen':16} {'1-NN':>14} {'linear':>14}  classes seen")
    for budget in map(int, args.budgets.split(",")):
        for name in args.methods.split(",") if args.methods else METHODS:
            scores = []
            for seed in range(args.seeds):
                at = METHODS[name](bank, budget, seed)
                nearest = knn_accuracy(bank[at], labels[at], queries, truth, k=1)
                known = LabelledFeatures(labels[at], names, features=bank[at])
                right = (fit_probe(known, seed)(queries).argmax(axis=1) == truth).mean()
                scores.append((nearest, right, len(np.unique(labels[at]))))
            mean, spread = np.mean(scores, axis=0), np.std(scores, axis=0)
            cells = [f"{m:.3f} ±{s:.3f}" for m, s in zip(mean[:2], spread[:2], strict=True)]
            print(f"{budget:6} {name:16} {cells[0]:>14} {cells[1]:>14}  {mean[2]:.1f}", flush=True)


if __name__ == "__main__":
    main()
