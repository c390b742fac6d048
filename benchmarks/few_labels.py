"""Coverage of the interval of ``byol predict`` with few labels.

    python benchmarks/few_labels.py --run runs/photos --data photos/ --draws 200

In every draw, 10 to 100 random images of all images of ``photos/`` are labelled. The probe that
``byol predict`` fits to them is scored on all the other images: the true accuracy. The table shows
how often it lies in the 95 % interval that the cross-validation of the labelled images gives. Draws
in which a class has one label have no estimate.
"""

import numpy as np
from common import arguments, header, save

from BYOL.config.features import FeaturesConfig
from BYOL.curation.run_features import open_features
from BYOL.evaluation.cross_val_predict import cross_val_predict, fit_probe
from BYOL.evaluation.estimate import estimate_quality
from BYOL.evaluation.labelled_set import LabelledFeatures

BINS = ((10, 20), (20, 40), (40, 70), (70, 101))


def all_features(args) -> tuple[np.ndarray, np.ndarray]:
    """The features and the classes of all images of both splits."""
    features = open_features(FeaturesConfig(args.run, args.data, trust=True))
    parts = [part for part in (features.splits.train, features.splits.test) if part]
    vectors, labels = zip(*((features.of(part)[1], part.labels) for part in parts), strict=True)
    return np.concatenate(vectors), np.concatenate(labels)


def main() -> None:
    args = arguments(__doc__, run="runs/photos", data="photos/", draws=200, seed=0, classes=0)
    header()
    features, labels = all_features(args)
    if args.classes:
        kept = labels < args.classes
        features, labels = features[kept], labels[kept]
    classes, rng, rows = int(labels.max()) + 1, np.random.default_rng(args.seed), []
    names = tuple(map(str, range(classes)))
    for _ in range(args.draws):
        n = int(rng.integers(10, 101))
        at = rng.choice(len(labels), n, replace=False)
        known = LabelledFeatures(labels[at], names, features=features[at])
        if known.has_one_label:
            continue
        estimate = estimate_quality(known, cross_val_predict(known, 0), "accuracy")
        row = {"n": n, **estimate.measures.get("accuracy", {})}
        if estimate.measures:
            others = np.setdiff1d(np.arange(len(labels)), at)
            predicted = fit_probe(known, 0)(features[others]).argmax(axis=1)
            row["true"] = float((predicted == labels[others]).mean())
        rows.append(row)
    print(f"{len(labels):,} images of {classes} classes")
    for low, high in (*BINS, (10, 101)):
        part = [row for row in rows if low <= row["n"] < high]
        shown = [row for row in part if "true" in row]
        if not shown:
            print(f"{low}–{high - 1} labels: {len(part)} draws, none with an estimate")
            continue
        inside = np.mean([row["low"] <= row["true"] <= row["high"] for row in shown])
        bias = np.mean([row["accuracy"] - row["true"] for row in shown])
        width = np.mean([row["high"] - row["low"] for row in shown])
        print(
            f"{low}–{high - 1} labels: {len(part)} draws, {len(shown)} with an estimate; true "
            f"accuracy inside {inside:.3f}; estimate − truth {bias:+.3f}; mean width {width:.2f}",
            flush=True,
        )
    save(args.json, rows=rows)


if __name__ == "__main__":
    main()
