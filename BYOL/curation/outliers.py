"""Images that differ most from the rest of a collection."""

from dataclasses import dataclass

import numpy as np
import torch

from BYOL._console import Progress
from BYOL._random import evenly_spaced
from BYOL.curation.feature_store import Collection
from BYOL.evaluation.nearest import nearest_neighbours

NEIGHBOURS = 50  # so many that a few similar outliers are not each other's only neighbours
_BANK = 100_000  # images among which neighbours are searched
_CHUNK = 4096


@dataclass(frozen=True)
class OutlierScores:
    """The distance of every image to its neighbours.

    Args:
        score: (n,) float32, mean of 1 − cosine over the k nearest images.
        nearest: (n,) integers, position of the most similar image.
        distance: (n,) float32, 1 − cosine to the most similar image.
        blank: (n,) bool, whether the image is blank.
    """

    score: np.ndarray
    nearest: np.ndarray
    distance: np.ndarray
    blank: np.ndarray


def outlier_scores(
    collection: Collection, device: torch.device, k: int = NEIGHBOURS, bank: int = _BANK
) -> OutlierScores:
    """Return the mean distance to the k nearest neighbours (Ramaswamy et al. 2000, averaged).

    Neighbours are searched among at most ``bank`` evenly chosen images, so that time and memory
    grow linearly with the number of images. Blank images are excluded from the bank. Otherwise a
    group of black images would have small distances to each other.

    Args:
        collection: the images.
        device: where the similarities are computed.
        k: number of neighbours.
        bank: largest number of images among which neighbours are searched.
    """
    n, blank = len(collection), collection.blank()
    candidates = np.flatnonzero(~blank)
    if len(candidates) < 2:
        candidates = np.arange(n)
    members = candidates[evenly_spaced(len(candidates), bank)]
    del candidates
    bank_features = torch.from_numpy(np.array(collection.features[members])).to(device)
    score, distance = np.empty((2, n), np.float32)
    nearest = np.empty(n, np.min_scalar_type(-n))
    with Progress("outliers", n) as progress:
        for start in range(0, n, _CHUNK):
            rows = slice(start, min(start + _CHUNK, n))
            queries = np.array(collection.features[rows])
            own = _positions_in(members, np.arange(rows.start, rows.stop))
            cosines, found = nearest_neighbours(bank_features, queries, k, exclude=own)
            distances = 1 - cosines.cpu().numpy().clip(max=1)
            score[rows], distance[rows] = distances.mean(axis=1), distances[:, 0]
            nearest[rows] = members[found[:, 0].cpu().numpy()]
            if progress.due():
                done = f"outliers: {rows.stop:,} of {n:,} images compared"
                progress.update(rows.stop, "", done)
    return OutlierScores(score, nearest, distance, blank)


def _positions_in(members: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the position of each of ``rows`` in the sorted ``members``, or -1."""
    places = np.searchsorted(members, rows).clip(max=len(members) - 1)
    return np.where(members[places] == rows, places, -1)


def most_different(scores: OutlierScores, count: int) -> np.ndarray:
    """Return the positions of the ``count`` images with the largest scores, largest first."""
    n = len(scores.score)
    smallest = np.partition(scores.score, max(n - count, 0))[max(n - count, 0)]
    places = np.flatnonzero(scores.score >= smallest)
    return places[np.argsort(-scores.score[places], kind="stable")][:count]


def describe_blank(grey: np.ndarray, blank: bool) -> str:
    """Describe a blank image as "black", "white" or "one colour"; return "" for other images.

    Args:
        grey: grey values of the image in [0, 1].
        blank: whether the image is blank.
    """
    if not blank:
        return ""
    level = float(grey.mean())
    return "black" if level < 0.05 else "white" if level > 0.95 else "one colour"
