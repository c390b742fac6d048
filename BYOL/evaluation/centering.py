"""Whether the mean of the training features is subtracted before the cosine.

The cosine of raw pixels is dominated by their common mean: without it, k-NN is up to 13 points more
accurate. Features of a network after a ReLU are often better as they are. So one rule holds for
every source: the better of the two on the training images. docs/evidence.md has the measurements.
"""

from dataclasses import replace

import numpy as np

from BYOL.config.tasks import CLASSES, VALUES
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.evaluation.votes import votes, weighted_means

NEIGHBOURS = 20
SAMPLE = 2000  # training images; all pairs of them are compared
CENTRED = "centred"  # the key of measures for which a mean was subtracted


def choose_center(
    known: LabelledFeatures, seed: int, held: np.ndarray | None = None
) -> np.ndarray | None:
    """Return the mean of the features if k-NN is better without it, else None.

    Each of at most :data:`SAMPLE` training images is predicted from the others. The criterion is
    the accuracy for classes, and the squared error for tags and for values, standardised because
    every column has a unit of its own. If both are equal, nothing is subtracted.

    Args:
        known: the training images.
        seed: seed of the sample.
        held: (n,) bool, images that are predicted from the others. It is used if the images have
            groups: the nearest image would often be of the same group.
    """
    if known.task == VALUES:
        spread = np.where(known.varying, known.labels.std(axis=0), 1.0)
        known = replace(known, labels=(known.labels - known.labels.mean(axis=0)) / spread)
    mean = known.features.mean(axis=0, dtype=np.float64).astype(np.float32)
    chosen = np.random.default_rng(seed).permutation(len(known))[:SAMPLE]
    bank, queries = known.subset(chosen), known.subset(chosen)
    exclude: np.ndarray | None = np.arange(len(chosen))
    if held is not None:
        (bank, queries), exclude = bank.split(held[chosen]), None
    if len(bank) < 2 or not len(queries):
        return None
    scores = []
    for center in (None, mean):
        near = nearest_neighbours(
            bank.features, queries.features, NEIGHBOURS, exclude=exclude, center=center
        )
        if known.task == CLASSES:
            scored = votes(*near, bank.labels, classes=known.count)
            predicted = scored.argmax(dim=1).cpu().numpy()
            scores.append(float((predicted == queries.labels).mean()))
        else:
            means = weighted_means(*near, bank.labels).cpu().numpy()
            scores.append(-float(((means - queries.labels) ** 2).mean()))
    return mean if scores[1] > scores[0] else None
