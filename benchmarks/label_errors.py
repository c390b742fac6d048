"""Planted label errors: precision and recall of the labels that ``byol predict`` calls suspect.

    python benchmarks/label_errors.py --run runs/photos --data photos/ --draws 5

In every draw, 5 % or 20 % of the labels are replaced by those of other classes: once with equally
frequent classes, and once with two classes, one class and all the others together, with 24 labels
of the others for each of the one. ``rare accused`` is the share of the correct labels of the rarest
class that are called wrong. Rules:

- 0.9: another class has a probability of at least 0.9
- confident joint: confident learning as published (off-diagonal entries, arXiv 1911.00068)
- byol predict: the rule of ``BYOL.evaluation.label_errors``
"""

from collections.abc import Callable

import numpy as np
from common import arguments, header
from few_labels import all_features

from BYOL.evaluation.cross_val_predict import cross_val_predict
from BYOL.evaluation.label_errors import class_thresholds, suspect_labels
from BYOL.evaluation.labelled_set import LabelledFeatures

RATIO = 24

Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]


def sure(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return (probabilities.max(axis=1) >= 0.9) & (probabilities.argmax(axis=1) != labels)


def confident_joint(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    confident = probabilities >= class_thresholds(labels, probabilities)
    best = np.where(confident, probabilities, -1).argmax(axis=1)
    return confident.any(axis=1) & (best != labels)


RULES: dict[str, Rule] = {
    "0.9": sure, "confident joint": confident_joint, "byol predict": suspect_labels,
}  # fmt: skip


def plant(labels: np.ndarray, share: float, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``labels`` with a ``share`` of each class replaced by random other classes."""
    noisy = labels.copy()
    for c in range(classes):
        members = np.flatnonzero(labels == c)
        wrong = rng.choice(members, round(share * len(members)), replace=False)
        noisy[wrong] = (c + rng.integers(1, classes, len(wrong))) % classes
    return noisy


def subset(
    labels: np.ndarray, classes: int, most: int, unequal: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of images and their classes: equal ones, or 24 to 1 of two classes."""
    if not unequal:
        at = rng.permutation(np.flatnonzero(labels < classes))[:most]
        return at, labels[at]
    rare = int(rng.integers(classes))
    others = rng.permutation(np.flatnonzero(labels != rare))
    members = rng.permutation(np.flatnonzero(labels == rare))
    count = max(min(len(others) // RATIO, len(members)), 2)
    at = np.concatenate([others[: RATIO * count], members[:count]])
    return at, (labels[at] == rare).astype(int)


def main() -> None:
    args = arguments(__doc__, run="runs/photos", data="photos/", draws=5, classes=10, most=1500)
    header()
    features, labels = all_features(args)
    args.classes = min(args.classes, int(labels.max()) + 1)
    print("| set | wrong | rule | precision | recall | suspect of planted | rare accused |")
    print("|---|---|---|---|---|---|---|")
    for unequal in (False, True):
        for share in (0.0, 0.05, 0.2):
            scores = {name: [] for name in RULES}
            for draw in range(args.draws):
                rng = np.random.default_rng(draw)
                at, truth = subset(labels, args.classes, args.most, unequal, rng)
                names, truth = np.unique(truth, return_inverse=True)
                noisy = plant(truth, share, len(names), rng)
                if np.bincount(noisy, minlength=len(names)).min() < 2:
                    continue
                known = LabelledFeatures(noisy, tuple(names), features=features[at])
                guesses = cross_val_predict(known, draw)
                wrong = noisy != truth
                rare = np.bincount(truth).argmin()
                right_rare = (noisy == rare) & ~wrong
                for name, rule in RULES.items():
                    found = rule(noisy, guesses)
                    scores[name].append(
                        [(found & wrong).sum(), found.sum(), wrong.sum(),
                         (found & right_rare).sum(), right_rare.sum()]
                    )  # fmt: skip
            for name, rows in scores.items():
                hits, found, wrong_, accused, rare_ = np.sum(rows, axis=0)
                kind = "1:24" if unequal else "balanced"
                print(
                    f"| {kind} | {share:.0%} | {name} | {hits / max(found, 1):.2f} | "
                    f"{hits / max(wrong_, 1):.2f} | {found} of {wrong_} | "
                    f"{accused / max(rare_, 1):.2f} |", flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main()
